package check

import (
	"net"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// runWrong runs turnd's pod with what an operator gets wrong: the container ends with the code that says whose fault it is, and
// the last lines of its log, which Kubernetes shows as the termination message, say what, why and what to try.
func runWrong(t *testing.T, e *engine) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, wrong := range []struct {
		name string
		make func(pod *corev1.PodTemplateSpec, objects decoded)
		exit string
		says []string
	}{
		{"key", func(pod *corev1.PodTemplateSpec, objects decoded) {
			for _, v := range pod.Spec.Volumes {
				if v.ConfigMap != nil {
					get[*corev1.ConfigMap](t, objects, "ConfigMap/"+v.ConfigMap.Name).Data["traverse.toml"] = "schema = 1\n[turnd]\nrelm = \"home\"\n"
				}
			}
		}, "3", []string{"error: the configuration is wrong", "traverse.toml:", "did you mean", "realm"}},
		{"secret", func(pod *corev1.PodTemplateSpec, _ decoded) {
			open := int32(0o444)
			for _, v := range pod.Spec.Volumes {
				if v.Secret != nil {
					v.Secret.DefaultMode = &open
				}
			}
		}, "3", []string{"error: cannot use the users file", "open to others", "try:   "}},
		{"port", func(pod *corev1.PodTemplateSpec, _ decoded) {
			c := &pod.Spec.Containers[0]
			c.Command = append(c.Command, "--listen-tcp", taken.Addr().String(), "--listen-udp", "127.0.0.1:0", "--relay-ip4", "127.0.0.1")
		}, "3", []string{"address already in use", "try:   end the other program"}},
		{"flag", func(pod *corev1.PodTemplateSpec, _ decoded) {
			c := &pod.Spec.Containers[0]
			c.Command = append(c.Command, "--relm", "home")
		}, "2", []string{"error: unknown flag: --relm", "try:   turnd run -h"}},
	} {
		t.Run(wrong.name, func(t *testing.T) {
			objects := base(t)
			pod := *get[*appsv1.Deployment](t, objects, "Deployment/turnd").Spec.Template.DeepCopy()
			pod.Spec.Containers[0].Ports = nil
			get[*corev1.Secret](t, objects, "Secret/turnd-users").Data["users"] = []byte("u:a long password\n")
			wrong.make(&pod, objects)
			pod.Spec.RestartPolicy = corev1.RestartPolicyNever // else its state is another one at each look
			e.play(t, wrong.name, pod, objects)
			container := wrong.name + "-turnd"
			if code := strings.TrimSpace(e.do("wait", container)); code != wrong.exit {
				t.Errorf("exit code %s, want %s", code, wrong.exit)
			}
			log := e.do("logs", container)
			for _, want := range wrong.says {
				if !strings.Contains(log, want) {
					t.Errorf("the log has no %q:\n%s", want, log)
				}
			}
			if lines := strings.Count(log, "\n"); lines > 80 || len(log) > 2048 { // what Kubernetes takes of it
				t.Errorf("the log has %d lines, %d bytes", lines, len(log))
			}
			if wrong.name != "key" {
				return
			}
			// As it is in the cluster: it is started again, which Kubernetes calls CrashLoopBackOff.
			pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
			e.play(t, "again", pod, objects)
			for deadline := time.Now().Add(30 * time.Second); ; <-time.After(200 * time.Millisecond) {
				if n := strings.TrimSpace(e.do("inspect", "--format", "{{.RestartCount}}", "again-turnd")); n != "0" {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("it is not started again")
				}
			}
			e.do("pod", "rm", "--force", "--time", "1", "again")
		})
	}
}
