package check

import (
	"path/filepath"
	"slices"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// The relay on every labelled host: the base's pod, and nothing that a DaemonSet does not have.
func TestDaemonSet(t *testing.T) {
	objects := build(t, filesys.MakeFsOnDisk(), "../overlays/daemonset")
	for _, gone := range []string{"Deployment/turnd", "StatefulSet/node", "PodDisruptionBudget/turnd", "NetworkPolicy/node", "Service/node"} {
		if objects[gone] != nil {
			t.Errorf("%s is left", gone)
		}
	}
	set := get[*appsv1.DaemonSet](t, objects, "DaemonSet/turnd")
	if set.Spec.Template.Spec.NodeSelector["traverse.internal/relay"] != "true" || !set.Spec.Template.Spec.HostNetwork {
		t.Errorf("the pods are %+v", set.Spec.Template.Spec)
	}
	if update := set.Spec.UpdateStrategy.RollingUpdate; update == nil || update.MaxUnavailable.IntVal != 1 {
		t.Errorf("the update is %+v", set.Spec.UpdateStrategy)
	}
	from := get[*appsv1.Deployment](t, base(t), "Deployment/turnd")
	if !slices.EqualFunc(set.Spec.Template.Spec.Containers, from.Spec.Template.Spec.Containers, func(a, b corev1.Container) bool {
		return slices.Equal(a.Command, b.Command) && a.Image == b.Image && len(a.VolumeMounts) == len(b.VolumeMounts)
	}) {
		t.Error("the containers are not the base's")
	}
}

// Several relays behind a balancer: what any of them needs to serve any client, and what keeps a client where it is.
func TestBalanced(t *testing.T) {
	objects := build(t, filesys.MakeFsOnDisk(), "../overlays/balanced")
	turnd := get[*appsv1.Deployment](t, objects, "Deployment/turnd")
	service := get[*corev1.Service](t, objects, "Service/turnd")
	scale := get[*autoscalingv2.HorizontalPodAutoscaler](t, objects, "HorizontalPodAutoscaler/turnd")
	pod := turnd.Spec.Template
	if *turnd.Spec.Replicas < 2 || *scale.Spec.MinReplicas < 2 || scale.Spec.ScaleTargetRef.Name != turnd.Name || scale.Spec.ScaleTargetRef.Kind != "Deployment" {
		t.Errorf("%d replicas, scaled by %+v", *turnd.Spec.Replicas, scale.Spec)
	}
	if service.Spec.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal || service.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		t.Errorf("the Service does not keep clients where they are, or hides them: %+v", service.Spec)
	}
	for label, value := range service.Spec.Selector {
		if pod.Labels[label] != value {
			t.Errorf("the Service selects %s=%s, the pods have %q", label, value, pod.Labels[label])
		}
	}
	for _, p := range service.Spec.Ports {
		if !slices.ContainsFunc(pod.Spec.Containers[0].Ports, func(c corev1.ContainerPort) bool { return c.Name == p.TargetPort.StrVal && c.Protocol == p.Protocol }) {
			t.Errorf("the Service's port %s leads nowhere", p.Name)
		}
	}
	secret := get[*corev1.Secret](t, objects, "Secret/turnd-fleet") // by this name: no hash in it, a change begins no pods
	mounted := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Secret != nil && v.Secret.SecretName == secret.Name })
	if mounted < 0 || *pod.Spec.Volumes[mounted].Secret.DefaultMode != 0o400 {
		t.Fatalf("the Secret is not mounted: %+v", pod.Spec.Volumes)
	}
	for _, mount := range pod.Spec.Containers[0].VolumeMounts {
		if mount.Name != pod.Spec.Volumes[mounted].Name {
			continue
		}
		for key := range secret.Data {
			path := filepath.Join(mount.MountPath, key)
			if !slices.Contains(pod.Spec.Containers[0].Command, path) {
				t.Errorf("turnd is not told of %s: %q", path, pod.Spec.Containers[0].Command)
			}
			if mount.SubPath != "" {
				t.Error("a file that is mounted by itself never changes")
			}
		}
	}
	// The balancer hears of it first, and a pod has longer than that and its sessions are given.
	hook := pod.Spec.Containers[0].Lifecycle
	if hook == nil || hook.PreStop == nil || hook.PreStop.Sleep == nil || hook.PreStop.Sleep.Seconds < 5 {
		t.Fatalf("before SIGTERM is %+v", hook)
	}
	if grace, before := *pod.Spec.TerminationGracePeriodSeconds, hook.PreStop.Sleep.Seconds; grace <= 300+before {
		t.Errorf("the pod has %d s to end, drain_grace is 300 after %d", grace, before)
	}
}

// What the Prometheus operator scrapes is there.
func TestMonitors(t *testing.T) {
	fs := filesys.MakeFsOnDisk()
	dir := t.TempDir()
	relative := func(to string) string {
		t.Helper()
		here, err := filepath.Abs(to)
		if err != nil {
			t.Fatal(err)
		}
		path, err := filepath.Rel(dir, here)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	overlay := "namespace: traverse\nresources: [" + relative("../base") + "]\ncomponents: [" + relative("../components/monitoring") + "]\n"
	if err := fs.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(overlay)); err != nil {
		t.Fatal(err)
	}
	objects := build(t, fs, dir)
	for name, pod := range map[string]corev1.PodTemplateSpec{
		"turnd": get[*appsv1.Deployment](t, objects, "Deployment/turnd").Spec.Template,
		"node":  get[*appsv1.StatefulSet](t, objects, "StatefulSet/node").Spec.Template,
	} {
		monitor := get[*monitoringv1.PodMonitor](t, objects, "PodMonitor/"+name)
		for label, value := range monitor.Spec.Selector.MatchLabels {
			if pod.Labels[label] != value {
				t.Errorf("%s: the monitor selects %s=%s, the pod has %q", name, label, value, pod.Labels[label])
			}
		}
		for _, end := range monitor.Spec.PodMetricsEndpoints {
			if !slices.ContainsFunc(pod.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool { return p.Name == *end.Port }) {
				t.Errorf("%s: the monitor scrapes the port %s, which the pod has not", name, *end.Port)
			}
		}
	}
}
