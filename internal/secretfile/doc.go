// Package secretfile opens files with passwords in them, and refuses those that others can read.
//
// What counts as private depends on whose the file is. Our own has to be 0600 or less. One that root gave us may be
// readable by a group, 0640 or less: root's choice of the group is the only way in which an unprivileged program gets to
// read it. That is how the systems below hand secrets over:
//
//   - systemd's LoadCredential: ours and 0400, or root's with an access control entry for us, which stat shows as 0440;
//   - a Kubernetes Secret with defaultMode 0400 in a pod with fsGroup: root's, the group's, 0440.
//
// Others may never read it, and neither group nor others may write it. libpq has the same rule for its keys.
package secretfile
