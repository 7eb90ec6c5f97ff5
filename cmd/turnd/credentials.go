package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"traverse.internal/internal/cli"
)

// maxCredential is above a users file of the largest size.
const maxCredential = 16 << 20

// credentialsCommand is for service files. LoadCredential= copies once, at the start, so that a reload would see what was
// then; this copies again.
func (a *app) credentialsCommand() *cobra.Command {
	var into string
	cmd := &cobra.Command{
		Use: "credentials NAME=FILE...", Short: "copy root's secrets into a service's runtime directory", Hidden: true,
		Long:    "Each FILE becomes NAME in the folder, of the folder's owner and 0400; one that is not there becomes an empty one.",
		Example: "  turnd credentials --into /run/turnd users=/etc/traverse/users",
	}
	cmd.Flags().StringVar(&into, "into", "", "the folder, which is there already")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		dir, err := os.OpenRoot(into)
		if err != nil {
			return cli.Errorf("E_USAGE", "cannot use the folder of --into").Because(err).Hint("turnd credentials -h")
		}
		defer dir.Close()
		for _, arg := range args {
			name, path, ok := strings.Cut(arg, "=")
			if !ok || name != filepath.Base(name) || path == "" {
				return cli.Errorf("E_USAGE", "%q is not NAME=FILE", arg).Hint("turnd credentials -h")
			}
			if err := copySecret(dir, name, path); err != nil {
				return cli.Errorf("E_LOCAL_IO", "cannot copy %s", path).Because(err)
			}
		}
		return nil
	}
	return cmd
}

// copySecret replaces a file of the folder as a whole. The service owns the folder and might have put anything there.
func copySecret(dir *os.Root, name, path string) error {
	content, err := readSecretFile(path)
	if err != nil {
		return err
	}
	info, err := dir.Stat(".")
	if err != nil {
		return err
	}
	temp := "." + name + ".new"
	_ = dir.Remove(temp)
	f, err := dir.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o400)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, giveTo(f, info), f.Close())
	if err == nil {
		err = dir.Rename(temp, name)
	}
	if err != nil {
		_ = dir.Remove(temp)
	}
	return err
}

func readSecretFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxCredential+1))
	if err == nil && len(content) > maxCredential {
		err = fmt.Errorf("it is longer than %d bytes", maxCredential)
	}
	return content, err
}
