// Package check decodes the manifests with the types of Kubernetes itself. It is a module of its own: the types weigh more
// than the programs.
package check

import (
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// decoded are the base's objects, by kind/name.
type decoded map[string]any

func base(t *testing.T) decoded {
	t.Helper()
	return build(t, filesys.MakeFsOnDisk(), "../base")
}

// build makes what a folder describes and decodes every object strictly: a field that its type does not have is an
// error, and so is a key that is there twice.
func build(t *testing.T, fs filesys.FileSystem, folder string) decoded {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(fs, folder)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]func() any{
		"v1/Namespace": func() any { return new(corev1.Namespace) }, "v1/ConfigMap": func() any { return new(corev1.ConfigMap) },
		"v1/Secret": func() any { return new(corev1.Secret) }, "v1/Service": func() any { return new(corev1.Service) },
		"apps/v1/Deployment": func() any { return new(appsv1.Deployment) }, "apps/v1/StatefulSet": func() any { return new(appsv1.StatefulSet) },
		"apps/v1/DaemonSet": func() any { return new(appsv1.DaemonSet) }, "autoscaling/v2/HorizontalPodAutoscaler": func() any { return new(autoscalingv2.HorizontalPodAutoscaler) },
		"monitoring.coreos.com/v1/PodMonitor": func() any { return new(monitoringv1.PodMonitor) },
		"policy/v1/PodDisruptionBudget":       func() any { return new(policyv1.PodDisruptionBudget) },
		"networking.k8s.io/v1/NetworkPolicy":  func() any { return new(networkingv1.NetworkPolicy) },
	}
	objects := decoded{}
	for _, r := range built.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		what := r.GetApiVersion() + "/" + r.GetKind()
		object, known := kinds[what]
		if !known {
			t.Errorf("%s %s: the check does not know the kind", what, r.GetName())
			continue
		}
		into := object()
		if err := yaml.UnmarshalStrict(text, into); err != nil {
			t.Errorf("%s %s: %v", what, r.GetName(), err)
		}
		if r.GetKind() != "Namespace" && r.GetNamespace() != "traverse" {
			t.Errorf("%s %s is in the namespace %q", what, r.GetName(), r.GetNamespace())
		}
		objects[r.GetKind()+"/"+r.GetName()] = into
	}
	return objects
}

func get[T any](t *testing.T, objects decoded, name string) T {
	t.Helper()
	object, ok := objects[name].(T)
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	return object
}

func TestManifestsAreStrict(t *testing.T) {
	objects := base(t)
	for _, want := range []string{
		"Namespace/traverse", "Deployment/turnd", "StatefulSet/node", "Service/node", "PodDisruptionBudget/turnd", "NetworkPolicy/turnd", "NetworkPolicy/node",
	} {
		if objects[want] == nil {
			t.Errorf("there is no %s", want)
		}
	}
	// The check itself.
	if err := yaml.UnmarshalStrict([]byte("kind: Deployment\nspec: {replica: 1}\n"), new(appsv1.Deployment)); err == nil {
		t.Error("an invented field passes")
	}
}

func TestPodsAreLocked(t *testing.T) {
	objects := base(t)
	turnd, node := get[*appsv1.Deployment](t, objects, "Deployment/turnd"), get[*appsv1.StatefulSet](t, objects, "StatefulSet/node")
	for name, pod := range map[string]corev1.PodTemplateSpec{"turnd": turnd.Spec.Template, "node": node.Spec.Template} {
		s := pod.Spec.SecurityContext
		if !*s.RunAsNonRoot || *s.RunAsUser == 0 || *s.FSGroup != *s.RunAsGroup || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: securityContext %+v", name, s)
		}
		if *pod.Spec.AutomountServiceAccountToken || *pod.Spec.EnableServiceLinks {
			t.Errorf("%s: the pod gets a token or variables", name)
		}
		for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
			s := c.SecurityContext
			if *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
				t.Errorf("%s: container %s: securityContext %+v", name, c.Name, s)
			}
			if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() || !c.Resources.Limits.Cpu().IsZero() {
				t.Errorf("%s: container %s: resources %+v", name, c.Name, c.Resources)
			}
			if c.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError {
				t.Errorf("%s: container %s: who describes the pod does not see why it ended", name, c.Name)
			}
			if !strings.HasPrefix(c.Image, "traverse:") {
				t.Errorf("%s: container %s: image %s", name, c.Name, c.Image)
			}
		}
		for _, c := range pod.Spec.Containers {
			if c.LivenessProbe == nil || c.StartupProbe == nil || c.LivenessProbe.TCPSocket == nil || c.ReadinessProbe == nil {
				t.Errorf("%s: container %s: no probes", name, c.Name)
				continue
			}
			named := func(p corev1.ContainerPort) bool { return p.Name == c.LivenessProbe.TCPSocket.Port.StrVal }
			if i := slices.IndexFunc(c.Ports, named); i < 0 || c.Ports[i].Protocol != corev1.ProtocolTCP {
				t.Errorf("%s: container %s: the probe's port is none of %v", name, c.Name, c.Ports)
			}
		}
	}
	if policy := node.Spec.Template.Spec.SecurityContext.FSGroupChangePolicy; policy == nil || *policy != corev1.FSGroupChangeOnRootMismatch {
		t.Error("node: the key's mode is changed at every start, and then refused")
	}
	for _, v := range turnd.Spec.Template.Spec.Volumes {
		if v.Secret != nil && *v.Secret.DefaultMode != 0o400 {
			t.Errorf("turnd: the users have mode %#o", *v.Secret.DefaultMode)
		}
	}
}

// Names that have to agree: volumes with what kustomize made, selectors with labels.
func TestNamesAgree(t *testing.T) {
	objects := base(t)
	turnd, node := get[*appsv1.Deployment](t, objects, "Deployment/turnd"), get[*appsv1.StatefulSet](t, objects, "StatefulSet/node")
	for name, pod := range map[string]corev1.PodTemplateSpec{"turnd": turnd.Spec.Template, "node": node.Spec.Template} {
		volumes := map[string]bool{}
		for _, c := range node.Spec.VolumeClaimTemplates {
			volumes[c.Name] = name == "node"
		}
		for _, v := range pod.Spec.Volumes {
			volumes[v.Name] = true
			if v.ConfigMap != nil && objects["ConfigMap/"+v.ConfigMap.Name] == nil {
				t.Errorf("%s: no ConfigMap %s", name, v.ConfigMap.Name)
			}
			if v.Secret != nil && objects["Secret/"+v.Secret.SecretName] == nil {
				t.Errorf("%s: no Secret %s", name, v.Secret.SecretName)
			}
		}
		for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
			for _, m := range c.VolumeMounts {
				if !volumes[m.Name] {
					t.Errorf("%s: container %s mounts %s, which is no volume", name, c.Name, m.Name)
				}
			}
		}
		policy := get[*networkingv1.NetworkPolicy](t, objects, "NetworkPolicy/"+name)
		for label, value := range policy.Spec.PodSelector.MatchLabels {
			if pod.Labels[label] != value {
				t.Errorf("%s: the NetworkPolicy selects %s=%s, the pod has %q", name, label, value, pod.Labels[label])
			}
		}
		open := 0
		for _, rule := range policy.Spec.Ingress {
			for _, p := range rule.Ports {
				for _, c := range pod.Spec.Containers[0].Ports {
					if *p.Protocol == c.Protocol && p.Port.IntVal == c.ContainerPort {
						open++
					}
				}
			}
		}
		if want := len(pod.Spec.Containers[0].Ports); open != want {
			t.Errorf("%s: the NetworkPolicy opens %d of %d ports", name, open, want)
		}
	}
	budget := get[*policyv1.PodDisruptionBudget](t, objects, "PodDisruptionBudget/turnd")
	for label, value := range budget.Spec.Selector.MatchLabels {
		if turnd.Spec.Template.Labels[label] != value {
			t.Errorf("the budget selects %s=%s", label, value)
		}
	}
	if get[*corev1.Service](t, objects, "Service/node").Spec.ClusterIP != corev1.ClusterIPNone || node.Spec.ServiceName != "node" {
		t.Error("the node's Service is not the headless one of its StatefulSet")
	}
}
