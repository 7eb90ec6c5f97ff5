package main

import (
	"bytes"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// An imagePart is the image for one machine.
type imagePart struct {
	arch string
	*built
}

// image writes an OCI image of both programs and nothing else, for all machines, as the archive that
// `podman load` and `skopeo copy oci-archive:` take. It says what deploy/k8s/Containerfile says; a test compares them.
func (r *release) image(parts []imagePart) error {
	index := v1.ImageIndex(empty.Index)
	for _, p := range parts {
		img, err := r.imageFor(p)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        img,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: p.arch}},
		})
	}
	dir, err := os.MkdirTemp("", "image")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// Podman takes an archive of one image only, so that the index of one machine is left out.
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	name := layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": r.version})
	if len(parts) == 1 {
		img, err := r.imageFor(parts[0])
		if err != nil {
			return err
		}
		err = path.AppendImage(img, name)
		if err != nil {
			return err
		}
	} else if err := path.AppendIndex(index, name); err != nil {
		return err
	}
	files, err := readTree(dir)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	if err := writeTar(&buf, "", files, r.when); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.dist, "traverse_"+r.version+"_oci.tar"), buf.Bytes(), 0o644)
}

func (r *release) imageFor(p imagePart) (v1.Image, error) {
	dir := func(name string) file { return file{name, os.ModeDir | 0o755, nil} }
	files := []file{dir("usr"), dir("usr/bin")}
	for _, name := range p.released() {
		data, err := os.ReadFile(p.programs[name])
		if err != nil {
			return nil, err
		}
		files = append(files, file{"usr/bin/" + name, 0o755, data})
	}
	var layer bytes.Buffer
	if err := writeTarGz(&layer, "", files, r.when); err != nil {
		return nil, err
	}
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	img, err := mutate.AppendLayers(img, static.NewLayer(layer.Bytes(), types.OCILayer))
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Created, config.Architecture, config.OS = v1.Time{Time: r.when}, p.arch, "linux"
	config.Config = v1.Config{
		User: "65532:65532",
		Env:  []string{"PATH=/usr/bin", "XDG_CONFIG_HOME=/etc", "XDG_STATE_HOME=/var/lib", "XDG_DATA_HOME=/var/lib", "XDG_RUNTIME_DIR=/run"},
		Cmd:  []string{"/usr/bin/turnd", "run", "--home", "/etc/traverse"},
		Labels: map[string]string{
			"org.opencontainers.image.title": "traverse", "org.opencontainers.image.version": r.version,
			"org.opencontainers.image.revision": r.revision, "org.opencontainers.image.created": r.when.Format(time.RFC3339),
		},
	}
	return mutate.ConfigFile(img, config)
}

// readTree has the files below dir by their names there, sorted.
func readTree(dir string) ([]file, error) {
	var files []file
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			files = append(files, file{name, os.ModeDir | 0o755, nil})
			return nil
		}
		data, err := os.ReadFile(path)
		files = append(files, file{name, 0o644, data})
		return err
	})
	return files, err
}
