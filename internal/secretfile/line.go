package secretfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"traverse.internal/internal/cli"
)

// maxLine is far above any password's length; a file longer than that is the wrong file.
const maxLine = 4096

// Line reads a secret from a private file that has one line, with or without an end. Its errors are *cli.Error and never
// hold a byte of the file.
func Line(path string) (string, error) {
	fail := func(err error) (string, error) {
		e := cli.Errorf("E_CONFIG", "cannot use the password file %s", path).Because(err)
		if open := (*PermissionError)(nil); errors.As(err, &open) {
			e = cli.Errorf("E_CONFIG", "the password file %s is open to others", path).
				Because(fmt.Errorf("its mode is %#o", open.Mode)).Hint("chmod 600 %s", path)
		}
		return "", e
	}
	f, err := Open(path)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxLine+1))
	if err != nil {
		return fail(err)
	}
	if len(raw) > maxLine {
		return fail(fmt.Errorf("it is longer than %d bytes", maxLine))
	}
	line := bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r"))
	if len(line) == 0 || bytes.ContainsAny(line, "\r\n") {
		return fail(errors.New("it must hold exactly one line"))
	}
	return string(line), nil
}
