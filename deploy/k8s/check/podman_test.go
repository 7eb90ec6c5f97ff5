package check

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// engineConf is what podman needs on machines where limits cannot be raised and cgroups not be managed.
const engineConf = `[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
`

// An engine is podman with a store of its own, which is removed with the test.
type engine struct {
	t    *testing.T
	args []string
	env  []string
}

func startEngine(t *testing.T) *engine {
	t.Helper()
	switch {
	case testing.Short():
		t.Skip("SKIPPED: -short")
	case os.Geteuid() != 0:
		t.Skip("SKIPPED: not root, so no pod is run")
	}
	for _, program := range []string{"podman", "runc", "catatonit"} {
		if _, err := exec.LookPath(program); err != nil && program != "catatonit" {
			t.Skipf("SKIPPED: %s is not installed (Debian: podman runc catatonit netavark aardvark-dns)", program)
		}
	}
	dir, err := os.MkdirTemp("", "pods") // not t.TempDir: what podman mounts there is its own to remove
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "containers.conf")
	if err := os.WriteFile(conf, []byte(engineConf), 0o600); err != nil {
		t.Fatal(err)
	}
	e := &engine{t, []string{
		"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--tmpdir", filepath.Join(dir, "tmp"),
		"--storage-driver", "vfs", "--runtime", "runc", "--log-level", "error",
	}, append(os.Environ(), "CONTAINERS_CONF="+conf)}
	t.Cleanup(func() {
		_, _ = e.try("pod", "rm", "--all", "--force", "--time", "5")
		_, _ = e.try("system", "reset", "--force")
		os.RemoveAll(dir)
	})
	return e
}

func (e *engine) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "podman", slices.Concat(e.args, args)...)
	cmd.Env = e.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (e *engine) do(args ...string) string {
	e.t.Helper()
	out, err := e.try(args...)
	if err != nil {
		e.t.Fatalf("podman %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// TestPodsRun builds the image as the Containerfile says and runs the base's pods of it: turnd serves a client and drains,
// the node makes its identity and answers.
func TestPodsRun(t *testing.T) {
	e := startEngine(t)
	static := filepath.Join(t.TempDir(), "static")
	for name, path := range map[string]string{"turnd": "./cmd/turnd", "traverse": "./cmd/node"} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", filepath.Join(static, name), path)
		cmd.Dir = "../../.."
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if out, err := e.try("build", "--isolation=chroot", "-t", "localhost/traverse:dev", "-f", "../Containerfile", static); err != nil {
		t.Skipf("SKIPPED: podman cannot build an image here: %v: %s", err, out)
	}
	objects := base(t)
	t.Run("wrong", func(t *testing.T) { runWrong(t, e) })
	t.Run("turnd", func(t *testing.T) { runTurnd(t, e, objects) })
	t.Run("node", func(t *testing.T) { runNode(t, e, objects) })
}

// play runs a pod with the objects that it mounts. What podman cannot do is done or taken away first and named here: it has no
// address of the host to give to a variable, no probes by a port's name, and no modes for files of Secrets.
func (e *engine) play(t *testing.T, name string, pod corev1.PodTemplateSpec, objects decoded) {
	t.Helper()
	var text bytes.Buffer
	write := func(object any) {
		t.Helper()
		y, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString("---\n")
		text.Write(y)
	}
	for _, v := range pod.Spec.Volumes {
		if v.ConfigMap != nil {
			m := get[*corev1.ConfigMap](t, objects, "ConfigMap/"+v.ConfigMap.Name)
			m.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}
			write(m)
		}
	}
	p := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: name, Labels: pod.Labels}, Spec: *pod.Spec.DeepCopy()}
	must := false // podman falls over what is not said
	for i := range p.Spec.Volumes {
		if v := &p.Spec.Volumes[i]; v.Secret != nil {
			kind := corev1.HostPathDirectory
			folder := secretFolder(t, get[*corev1.Secret](t, objects, "Secret/"+v.Secret.SecretName), *v.Secret.DefaultMode, *pod.Spec.SecurityContext.FSGroup)
			v.VolumeSource = corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: folder, Type: &kind}}
		} else if v.ConfigMap != nil {
			v.ConfigMap.Optional = &must
		}
	}
	for _, containers := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range containers {
			c := &containers[i]
			c.Image = "localhost/" + c.Image
			c.StartupProbe, c.LivenessProbe, c.ReadinessProbe = nil, nil, nil
			c.Env = slices.DeleteFunc(c.Env, func(v corev1.EnvVar) bool { return v.ValueFrom != nil })
			for j := range c.Env {
				c.Env[j].Value = strings.ReplaceAll(c.Env[j].Value, "$(HOST_IP)", "127.0.0.1")
			}
		}
	}
	write(p)
	file := filepath.Join(t.TempDir(), name+".yaml")
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := e.try("kube", "play", "--build=false", file)
	if err != nil {
		t.Fatalf("kube play: %v\n%s", err, out)
	}
}

// secretFolder is a Secret as the kubelet mounts it: root's, with the group of fsGroup, who may read what root may.
func secretFolder(t *testing.T, secret *corev1.Secret, mode int32, group int64) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "secret")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for key, data := range secret.Data {
		path := filepath.Join(dir, key)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, 0, int(group)); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, os.FileMode(mode|mode>>3&0o40)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// within runs a command in a container until it works.
func (e *engine) within(t *testing.T, container string, command ...string) string {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; <-time.After(200 * time.Millisecond) {
		out, err := e.try(append([]string{"exec", container}, command...)...)
		if err == nil {
			return out
		}
		if time.Now().After(deadline) {
			logs, _ := e.try("logs", container)
			t.Fatalf("%q in %s: %v\n%s\nits log ends\n%s", command, container, err, out, logs[max(0, len(logs)-1000):])
		}
	}
}

func runTurnd(t *testing.T, e *engine, objects decoded) {
	// The pod is on the host's network: ports of this machine that nobody has.
	port, metrics := freePort(t), freePort(t)
	pod := *get[*appsv1.Deployment](t, objects, "Deployment/turnd").Spec.Template.DeepCopy()
	c := &pod.Spec.Containers[0]
	var startup []string
	for _, arg := range c.StartupProbe.Exec.Command {
		startup = append(startup, strings.ReplaceAll(arg, ":3478", ":"+port))
	}
	c.Command = append(c.Command, "--listen-udp", "127.0.0.1:"+port, "--listen-tcp", "127.0.0.1:"+port, "--relay-ip4", "127.0.0.1",
		"--allow-peer", "127.0.0.0/8", "--metrics", "127.0.0.1:"+metrics)
	c.Ports = nil // podman maps none on the host's network
	users := get[*corev1.Secret](t, objects, "Secret/turnd-users")
	users.Data["users"] = []byte("u:a long password\n")
	e.play(t, "turnd", pod, objects)
	e.within(t, "turnd-turnd", startup...)
	if out := e.within(t, "turnd-turnd", "/usr/bin/turnd", "check", "turn:u@127.0.0.1:"+port, "--pass", "a long password", "--family", "4"); !strings.Contains(out, "both ways") {
		t.Errorf("check says\n%s", out)
	}
	if got := e.do("inspect", "--format", "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.EffectiveCaps}}", "turnd-turnd"); !strings.HasPrefix(got, "65532:65532 true []") {
		t.Errorf("the container is %s", got)
	}
	e.do("stop", "--time", "20", "turnd-turnd") // SIGTERM: nobody is there, so that it ends at once
	if got := strings.TrimSpace(e.do("inspect", "--format", "{{.State.ExitCode}}", "turnd-turnd")); got != "0" {
		t.Errorf("exit code %s", got)
	}
}

func runNode(t *testing.T, e *engine, objects decoded) {
	set := get[*appsv1.StatefulSet](t, objects, "StatefulSet/node")
	pod := *set.Spec.Template.DeepCopy()
	// A StatefulSet's volume is a claim by its name.
	state := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(state, 65532, 65532); err != nil {
		t.Fatal(err)
	}
	kind := corev1.HostPathDirectory
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{
		Name: set.Spec.VolumeClaimTemplates[0].Name, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: state, Type: &kind}},
	})
	pod.Spec.HostNetwork = true // podman's own networks need more of the kernel than every machine has
	pod.Spec.Containers[0].Ports = nil
	pod.Spec.Containers[0].Env = append(pod.Spec.Containers[0].Env,
		corev1.EnvVar{Name: "TRAVERSE_METRICS_LISTEN", Value: "127.0.0.1:" + freePort(t)},
		corev1.EnvVar{Name: "TRAVERSE_NODE_LISTEN", Value: "tcp://127.0.0.1:0"},
		corev1.EnvVar{Name: "TRAVERSE_DHT_LISTEN", Value: "127.0.0.1:0"}, corev1.EnvVar{Name: "TRAVERSE_DHT_MODE", Value: "private"})
	// podman removes an init container before it has seen it end, now and then: it is a pod of its own here.
	first := *pod.DeepCopy()
	first.Spec.InitContainers, first.Spec.Containers, first.Spec.RestartPolicy = nil, pod.Spec.InitContainers, corev1.RestartPolicyNever
	e.play(t, "first", first, objects)
	if code := strings.TrimSpace(e.do("wait", "first-init")); code != "0" {
		t.Fatalf("init ended with %s:\n%s", code, e.do("logs", "first-init"))
	}
	pod.Spec.InitContainers = nil
	e.play(t, "node", pod, objects)
	var status struct{ Kind string }
	if out := e.within(t, "node-node", "/usr/bin/traverse", "--json", "status"); json.Unmarshal([]byte(out), &status) != nil || status.Kind != "status" {
		t.Errorf("status says\n%s", out)
	}
	if info, err := os.Stat(filepath.Join(state, "identity", "device.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the identity that init makes: %v", err)
	}
	e.do("stop", "--time", "20", "node-node")
	if got := strings.TrimSpace(e.do("inspect", "--format", "{{.State.ExitCode}}", "node-node")); got != "0" && got != fmt.Sprint(143) {
		t.Errorf("exit code %s", got)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
