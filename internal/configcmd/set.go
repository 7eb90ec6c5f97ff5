package configcmd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"traverse.internal/config"
	"traverse.internal/internal/cli"
)

// Set is what set prints.
type Set struct {
	cli.Envelope
	File     string   `json:"file"`
	Created  bool     `json:"created"` // there was no file
	Changed  []SetKey `json:"changed"` // without those that had the value already
	Warnings []string `json:"warnings"`
	Applies  string   `json:"applies"` // by what the change comes into force: "reload", "restart", or "nothing" where nothing has changed
}

// SetKey is one key that was changed.
type SetKey struct {
	Key     string `json:"key"`
	Was     string `json:"was"` // (hidden) of a secret
	Value   string `json:"value"`
	Applies string `json:"applies"`
}

func (p Program) set() *cobra.Command {
	return &cobra.Command{
		Use: "set KEY VALUE [KEY VALUE]...", Short: "change keys in the configuration file",
		Long: `Set changes the values and leaves all else of the file as it is: comments, order, spaces. The result is checked as a whole, as config check does, before
anything is written, and the file is replaced at once: what reads it finds the old one or the new one. Keys that need each other are given together. A list has
commas; the keys of the second [[relay]] are relay[2].url and so on; a path is relative to where you are. It says whether a reload or a restart applies the change.`,
		Example: fmt.Sprintf("  %[1]s config set log.level debug\n  %[1]s config set turnd.realm example.org turnd.port_range 50000-50999", p.Name),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) >= 2 && len(args)%2 == 0 {
				return nil
			}
			return cli.Errorf("E_USAGE", "%s takes a key and its value, or several of both, got %d arguments", cmd.CommandPath(), len(args)).Hint("%s -h", cmd.CommandPath())
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var words []string
			for _, k := range config.Keys(p.Name) {
				if len(args)%2 == 0 {
					words = append(words, k.Name+"\t"+k.Help)
				} else if k.Name == args[len(args)-1] {
					words = k.Words()
				}
			}
			return words, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error { return p.runSet(cmd, args) },
	}
}

func (p Program) runSet(cmd *cobra.Command, args []string) error {
	var changes []config.Change
	for pair := range slices.Chunk(args, 2) {
		change, err := config.FilePath(config.Change{Key: pair[0], Value: pair[1]})
		if err != nil {
			return p.refuse(err)
		}
		changes = append(changes, change)
	}
	path, err := p.where()
	if err != nil {
		return err
	}
	// A link stays one: what it leads to is replaced.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	was, err := os.ReadFile(path)
	out := Set{Envelope: p.envelope("config_set"), File: path, Created: errors.Is(err, fs.ErrNotExist), Changed: []SetKey{}, Warnings: []string{}, Applies: "nothing"}
	if err != nil && !out.Created {
		return cli.Errorf("E_LOCAL_IO", "cannot read the configuration").Because(err)
	}
	before, err := p.settings(path, was)
	if err != nil {
		before = nil // what is wrong may be what is mended
	}
	now, err := config.Edit(path, was, p.Env, changes...)
	if err != nil {
		return p.refuse(err)
	}
	conf, err := config.Parse(path, now, p.Env, nil)
	if err == nil {
		out.Warnings, err = p.Check(conf)
	}
	if err != nil {
		return p.refuse(err)
	}
	if out.Warnings == nil {
		out.Warnings = []string{}
	}
	after, err := p.settings(path, now)
	if err != nil {
		return p.refuse(err)
	}
	p.compare(&out, before, after, changes)
	if !bytes.Equal(was, now) {
		if err := rewrite(path, was, now, out.Created); err != nil {
			return cli.Errorf("E_LOCAL_IO", "cannot write the configuration").Because(err).Hint("it is as it was; check who may write to %s", filepath.Dir(path))
		}
	}
	return p.Print(out, func(w io.Writer) { p.printSet(w, cmd.ErrOrStderr(), out) })
}

// settings are those of a file by itself, by name.
func (p Program) settings(path string, data []byte) (map[string]config.Setting, error) {
	secrets := slices.DeleteFunc(slices.Clone(p.Env), func(pair string) bool { return strings.HasPrefix(pair, "TRAVERSE_") })
	conf, err := config.Parse(path, data, secrets, nil)
	if err != nil {
		return nil, err
	}
	all := map[string]config.Setting{}
	for _, s := range conf.Settings("") {
		all[s.Key] = s
	}
	return all, nil
}

// compare says what has changed, how it comes into force, and what stands in its way.
func (p Program) compare(out *Set, before, after map[string]config.Setting, changes []config.Change) {
	for _, change := range changes {
		key := change.Key
		if rest, ok := strings.CutPrefix(key, "relay[1]."); ok {
			key = "relay." + rest
		}
		for _, k := range config.Keys("") {
			if k.Name != plain(key) {
				continue
			}
			if slices.ContainsFunc(p.Env, func(pair string) bool { return strings.HasPrefix(pair, k.Env+"=") }) {
				out.Warnings = append(out.Warnings, "the variable "+k.Env+" is set here, and wins over the file")
			}
			if !strings.Contains(k.Programs, p.Name) {
				out.Warnings = append(out.Warnings, key+" is not of "+p.Name+", but of "+k.Programs)
			}
		}
		was, now := before[key], after[key]
		if before != nil && was.Value == now.Value && was.Layer == now.Layer && !now.Secret {
			continue
		}
		applies := "restart"
		if p.Reloads(plain(key)) {
			applies = "reload"
		}
		out.Changed = append(out.Changed, SetKey{key, was.Value, now.Value, applies})
		if out.Applies != "restart" {
			out.Applies = applies
		}
	}
}

// plain is a key without the number of its relay.
func plain(key string) string {
	if _, rest, ok := strings.Cut(key, "]."); ok {
		return "relay." + rest
	}
	return key
}

func (p Program) printSet(w, talk io.Writer, out Set) {
	for _, text := range out.Warnings {
		fmt.Fprintf(talk, "warning: %s\n", text)
	}
	for _, c := range out.Changed {
		fmt.Fprintf(w, "%s = %s (was %s)\n", c.Key, orEmpty(c.Value), orEmpty(c.Was))
	}
	switch out.Applies {
	case "nothing":
		fmt.Fprintf(w, "%s says so already\n", out.File)
	case "reload":
		fmt.Fprintf(talk, "wrote %s; what runs takes it by: %s reload\n", out.File, p.Name)
	default:
		fmt.Fprintf(talk, "wrote %s; what runs takes it when it is started again\n", out.File)
	}
}

func orEmpty(value string) string {
	if value == "" {
		return "empty"
	}
	return value
}

// refuse says why nothing was written.
func (p Program) refuse(err error) error {
	var told *cli.Error
	var wrong *config.Error
	switch {
	case errors.As(err, &told):
		return told
	case errors.As(err, &wrong) && wrong.Where == "":
		return cli.Errorf("E_USAGE", "the key cannot be set").Because(err).Hint("%s config show lists the keys, docs/config.md what they take", p.Name)
	}
	return cli.Errorf("E_CONFIG", "the configuration would be wrong, so nothing was written").Because(err).Hint("set keys that need each other together: %s config set KEY VALUE KEY VALUE", p.Name)
}

// rewrite replaces the file at once, unless somebody else has changed it meanwhile. Mode and owner stay.
func rewrite(path string, was, now []byte, created bool) error {
	if created {
		return write(path, string(now))
	}
	old, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".traverse-*")
	if err != nil {
		return err
	}
	_, err = f.Write(now)
	err = errors.Join(err, f.Chmod(old.Mode().Perm()), giveTo(f, old), f.Sync(), f.Close())
	if err == nil {
		if there, readErr := os.ReadFile(path); readErr != nil || !bytes.Equal(there, was) {
			err = errors.Join(readErr, errors.New("another program has changed it meanwhile; try again"))
		}
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

func (p Program) schema() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "print the JSON Schema of the configuration file", Args: p.Usage(0),
		Long:    "It is for editors and for checks in other programs. It has every key of both programs, since one file serves both. What one key demands of another only check knows.",
		Example: fmt.Sprintf("  %s config schema > traverse.schema.json", p.Name),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(config.Schema())
			return err
		},
	}
}
