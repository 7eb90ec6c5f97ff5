package configcmd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"traverse.internal/internal/cli"
	"traverse.internal/internal/secretfile"
)

// maxCredential is above a users file of the largest size.
const maxCredential = 16 << 20

// Credentials is the command `credentials`, for service files of both programs. LoadCredential= copies once, at the start, so
// that a reload would see what was then; this copies again.
//
// A secret that others can read stays so in the copy, beside a complaint: the program then refuses it as it would have
// refused the original, with its own exit code, at the start and at a reload. Were this command to fail, the service manager
// would start the service again and again.
func Credentials(program string, stderr io.Writer) *cobra.Command {
	var into string
	var public []string
	cmd := &cobra.Command{
		Use: "credentials NAME=FILE...", Short: "copy root's secrets into a service's runtime directory", Hidden: true,
		Long: `Each FILE becomes NAME in the folder, of the folder's owner and 0400; one that is not there becomes an empty one. One that others can
read is complained about, and its copy has the same fault.`,
		Example: "  " + program + " credentials --into /run/" + program + " users=/etc/traverse/users",
	}
	cmd.Flags().StringVar(&into, "into", "", "the folder, which is there already")
	cmd.Flags().StringSliceVar(&public, "public", nil, "NAME=FILE that is no secret, such as a certificate")
	help := program + " credentials -h"
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		dir, err := os.OpenRoot(into)
		if err != nil {
			return cli.Errorf("E_USAGE", "cannot use the folder of --into").Because(err).Hint("%s", help)
		}
		defer dir.Close()
		for i, arg := range slices.Concat(args, public) {
			name, path, ok := strings.Cut(arg, "=")
			if !ok || name != filepath.Base(name) || path == "" {
				return cli.Errorf("E_USAGE", "%q is not NAME=FILE", arg).Hint("%s", help)
			}
			open, err := copySecret(dir, name, path)
			if err != nil {
				return cli.Errorf("E_LOCAL_IO", "cannot copy %s", path).Because(err)
			}
			if open != nil && i < len(args) {
				cli.Report(io.Discard, stderr, cli.Errorf("E_CONFIG", "%s is open to others", path).
					Because(fmt.Errorf("its mode is %#o", open.Mode)).Hint("chmod 600 %s", path), false)
				if err := dir.Chmod(name, open.Mode&^0o333); err != nil { // to be read, and nothing else
					return cli.Errorf("E_LOCAL_IO", "cannot copy %s", path).Because(err)
				}
			}
		}
		return nil
	}
	return cmd
}

// copySecret replaces a file of the folder as a whole. The service owns the folder and might have put anything there.
// What it returns, beside an error, says that the original is open to others.
func copySecret(dir *os.Root, name, path string) (*secretfile.PermissionError, error) {
	content, open, err := readCredential(path)
	if err != nil {
		return nil, err
	}
	info, err := dir.Stat(".")
	if err != nil {
		return nil, err
	}
	temp := "." + name + ".new"
	_ = dir.Remove(temp)
	f, err := dir.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o400)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(content)
	err = errors.Join(err, giveTo(f, info), f.Close())
	if err == nil {
		err = dir.Rename(temp, name)
	}
	if err != nil {
		_ = dir.Remove(temp)
	}
	return open, err
}

func readCredential(path string) (content []byte, open *secretfile.PermissionError, err error) {
	f, err := secretfile.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, nil
	case errors.As(err, &open):
		f, err = os.Open(path)
	}
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	content, err = io.ReadAll(io.LimitReader(f, maxCredential+1))
	if err == nil && len(content) > maxCredential {
		err = fmt.Errorf("it is longer than %d bytes", maxCredential)
	}
	return content, open, err
}
