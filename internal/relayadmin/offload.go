package relayadmin

import (
	"traverse.internal/core/offload"
	"traverse.internal/internal/cli"
)

// Offload is the answer to GET /v1/offload: what is relayed in the kernel, and why not more.
type Offload struct {
	cli.Envelope
	Mode   string `json:"mode"`             // as configured: off, auto, tc
	State  string `json:"state"`            // off, on, or fallback: auto could not
	Reason string `json:"reason,omitempty"` // why it is not on

	Share      float64             `json:"share"` // of the datagrams relayed since the start, 0 to 1
	Flows      int                 `json:"flows"` // channels in the kernel's table
	Interfaces []offload.Interface `json:"interfaces"`
	Left       map[string]uint64   `json:"left,omitempty"`    // datagrams left to user space, by reason
	Refused    map[string]uint64   `json:"refused,omitempty"` // channels, by reason
	Detached   uint64              `json:"detached"`
}

func (o *Operator) offload() Offload {
	out := o.Offload
	out.Envelope = cli.Envelope{Schema: "turnd.v1", Kind: "offload"}
	if out.State == "" {
		out.Mode, out.State = "off", "off"
	}
	out.Interfaces = []offload.Interface{}
	st := o.Server.Stats()
	if st.Offload != nil {
		out.Share, out.Flows, out.Detached = st.OffloadShare(), st.Offload.Flows, st.Offload.Detached
		out.Interfaces = append(out.Interfaces, st.Offload.Interfaces...)
		out.Left, out.Refused = st.Offload.Left, st.Offload.Refused
	}
	return out
}
