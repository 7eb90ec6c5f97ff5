package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"traverse.internal/internal/cli"
)

// saved is what is exposed and forwarded again when the node is up again: services.json of a home. Safe for concurrent use.
type saved struct {
	path string

	mu   sync.Mutex // guards the file and what it holds
	file savedFile
}

type savedFile struct {
	Schema   int              `json:"schema"`
	Services []ExposeRequest  `json:"services"`
	Forwards []ForwardRequest `json:"forwards"`
}

func loadSaved(h Home) (*saved, error) {
	s := &saved{path: filepath.Join(h.State, "services.json"), file: savedFile{Schema: 1}}
	raw, err := os.ReadFile(s.path)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &s.file)
	}
	if err == nil && s.file.Schema != 1 {
		err = fmt.Errorf("it has schema %d, this program reads 1", s.file.Schema)
	}
	if err != nil {
		return nil, cli.Errorf("E_CONFIG", "cannot use the saved services and forwards").Because(fmt.Errorf("%s: %w", s.path, err)).
			Hint("mend the JSON, or move the file away and expose them again")
	}
	return s, nil
}

// list returns what was saved.
func (s *saved) list() ([]ExposeRequest, []ForwardRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.file.Services), slices.Clone(s.file.Forwards)
}

func (s *saved) hasService(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.file.Services, func(e ExposeRequest) bool { return e.Name == name })
}

func (s *saved) hasForward(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.file.Forwards, func(f ForwardRequest) bool { return f.ID == id })
}

// keepService notes a service, or forgets it.
func (s *saved) keepService(name string, keep bool, e ExposeRequest) error {
	return s.change(func(f *savedFile) bool {
		had := len(f.Services)
		f.Services = slices.DeleteFunc(slices.Clone(f.Services), func(have ExposeRequest) bool { return have.Name == name })
		if keep {
			f.Services = append(f.Services, e)
		}
		return keep || len(f.Services) != had
	})
}

// keepForward notes a forward, or forgets it.
func (s *saved) keepForward(id string, keep bool, e ForwardRequest) error {
	return s.change(func(f *savedFile) bool {
		had := len(f.Forwards)
		f.Forwards = slices.DeleteFunc(slices.Clone(f.Forwards), func(have ForwardRequest) bool { return have.ID == id })
		if keep {
			f.Forwards = append(f.Forwards, e)
		}
		return keep || len(f.Forwards) != had
	})
}

// change stores what the function makes of the file, where that is another.
func (s *saved) change(f func(*savedFile) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.file
	if !f(&next) {
		return nil
	}
	raw, err := json.MarshalIndent(next, "", "  ")
	if err == nil {
		err = replaceFile(s.path, append(raw, '\n'))
	}
	if err != nil {
		return cli.Errorf("E_LOCAL_IO", "cannot save it for the next start").Because(err).
			Hint("check the free space and the permissions of the home; it holds until the node ends")
	}
	s.file = next
	return nil
}
