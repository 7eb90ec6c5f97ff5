package turndconf

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"traverse.internal/core/stun"
	"traverse.internal/internal/secretfile"
	"traverse.internal/turn"
)

// maxUsers bounds the users file: 100,000 users of 100 bytes are 10 MiB; with keys it has room for 60,000.
const (
	maxUsers     = 100_000
	maxUserBytes = 10 << 20
	maxSecrets   = 4 // turn's limit, with a line number
)

// keyMark begins what stands in a password's place and is none: name:$rfc8489$md5=HEX$sha256=HEX$realm=REALM.
const keyMark = "$rfc8489$"

// Users is a users file.
type Users struct {
	Names     []string          // in the file's order
	Passwords map[string]string // those in plain text

	keys map[string]realmKeys
}

type realmKeys struct {
	realm string
	keys  turn.Keys
}

// forRealm returns the users' keys, which must all be of the realm.
func (u Users) forRealm(realm string) (map[string]turn.Keys, error) {
	out := make(map[string]turn.Keys, len(u.keys))
	for name, k := range u.keys {
		if k.realm != realm {
			return nil, fmt.Errorf("the keys of %q are made for the realm %q, the server's is %q", name, k.realm, realm)
		}
		out[name] = k.keys
	}
	return out, nil
}

// Line is a user's line with keys.
func Line(name, realm string, k turn.Keys) string {
	return fmt.Sprintf("%s:%smd5=%x$sha256=%x$realm=%s", name, keyMark, k.MD5, k.SHA256, realm)
}

// ReadUsers reads a users file, which must be private. Empty lines and lines that begin with # are skipped; a password may
// hold anything but a line's end.
func ReadUsers(path string) (Users, error) { return readUsers(path) }

func readUsers(path string) (Users, error) {
	f, err := secretfile.Open(path)
	if err != nil {
		return Users{}, err
	}
	defer f.Close()
	return parseUsers(f)
}

func parseUsers(r io.Reader) (Users, error) {
	users := Users{Passwords: map[string]string{}, keys: map[string]realmKeys{}}
	limited := &io.LimitedReader{R: r, N: maxUserBytes + 1}
	lines := bufio.NewScanner(limited)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, password, ok := strings.Cut(line, ":")
		_, known := users.keys[name]
		switch {
		case !ok || name == "" || password == "":
			return users, fmt.Errorf("line %d is not name:password", n)
		case len(name) > stun.MaxUsername || !utf8.ValidString(line):
			return users, fmt.Errorf("line %d: the name is longer than %d bytes, or not UTF-8", n, stun.MaxUsername)
		case known || users.Passwords[name] != "":
			return users, fmt.Errorf("line %d: the user %q is there twice", n, name)
		case len(users.Names) == maxUsers:
			return users, fmt.Errorf("it has more than %d users", maxUsers)
		}
		if fields, ok := strings.CutPrefix(password, keyMark); ok {
			k, err := parseKeys(fields)
			if err != nil {
				return users, fmt.Errorf("line %d: %w", n, err)
			}
			users.keys[name] = k
		} else {
			users.Passwords[name] = password
		}
		users.Names = append(users.Names, name)
	}
	if limited.N <= 0 {
		return users, fmt.Errorf("it is larger than %d bytes", maxUserBytes)
	}
	return users, lines.Err()
}

// parseKeys reads md5=HEX$sha256=HEX$realm=REALM.
func parseKeys(s string) (k realmKeys, err error) {
	broken := errors.New("the keys are not as turnd user add writes them")
	md5, rest, ok1 := strings.Cut(s, "$")
	sha256, realm, ok2 := strings.Cut(rest, "$")
	md5, ok3 := strings.CutPrefix(md5, "md5=")
	sha256, ok4 := strings.CutPrefix(sha256, "sha256=")
	realm, ok5 := strings.CutPrefix(realm, "realm=")
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || len(md5) != 32 || len(sha256) != 64 || realm == "" {
		return k, broken
	}
	_, err1 := hex.Decode(k.keys.MD5[:], []byte(md5))
	_, err2 := hex.Decode(k.keys.SHA256[:], []byte(sha256))
	if err1 != nil || err2 != nil {
		return k, broken
	}
	k.realm = realm
	return k, nil
}

// Edit puts a line in the place of a user's, or behind the last when there is none, or takes it out when line is empty.
// Everything else in the file stays. The file is replaced as a whole, 0600; it is made when it is not there. It says
// whether the user was there.
func Edit(path, name, line string) (was bool, err error) {
	old, err := readPrivate(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	var out bytes.Buffer
	for text := range strings.Lines(string(old)) {
		text = strings.TrimRight(text, "\r\n")
		if strings.HasPrefix(text, name+":") {
			was = true
			if line == "" {
				continue
			}
			text, line = line, ""
		}
		out.WriteString(text + "\n")
	}
	if line != "" {
		out.WriteString(line + "\n")
	}
	if _, err := parseUsers(bytes.NewReader(out.Bytes())); err != nil {
		return was, err
	}
	return was, replace(path, out.Bytes())
}

func readPrivate(path string) ([]byte, error) {
	f, err := secretfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxUserBytes+1))
}

// replace writes a file beside the old one and renames it, so that a reader sees one or the other.
func replace(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".users-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// ReadSecrets reads the secrets of time-limited credentials: one a line, from a private file. The first is the one to mint
// with.
func ReadSecrets(path string) ([]string, error) {
	content, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	var secrets []string
	for line := range strings.Lines(string(content)) {
		line = strings.TrimRight(line, "\r\n")
		if line != "" && !strings.HasPrefix(line, "#") {
			secrets = append(secrets, line)
		}
	}
	if len(secrets) == 0 || len(secrets) > maxSecrets {
		return nil, fmt.Errorf("it has %d secrets, not 1 to %d", len(secrets), maxSecrets)
	}
	return secrets, nil
}
