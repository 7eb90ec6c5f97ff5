package daemon

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"traverse.internal/internal/cli"
	"traverse.internal/transfer"
)

// maxShownEntries bounds a list of what is in a transfer: 1,000 paths of 4 KiB are below maxReply.
const maxShownEntries = 1000

// EntryObject is one file, folder or link of a transfer.
type EntryObject struct {
	Kind   string    `json:"kind"` // file, folder or link
	Path   string    `json:"path"`
	Size   int64     `json:"size"`
	Mode   string    `json:"mode"`
	Mod    time.Time `json:"modified"`
	Target string    `json:"target,omitempty"`
}

// EntryList is what `inbox show` and `transfers show` print beside the transfer.
type EntryList struct {
	cli.Envelope
	ID      string        `json:"id"`
	Total   int           `json:"total"`
	Entries []EntryObject `json:"entries"` // the first of them
}

// Entries lists what is in a transfer, as far as that is known here now.
func (d *Daemon) Entries(id string) (EntryList, error) {
	e, err := d.table.find(id)
	if group := d.table.group(id); group != nil {
		e, err = group[0], nil
	}
	if err != nil {
		return EntryList{}, err
	}
	list := EntryList{Envelope: envelope("entries"), Entries: []EntryObject{}}
	d.table.mu.Lock()
	list.ID, list.Total = e.shown.ID, e.shown.Entries
	entries := e.entries
	direction := e.shown.Direction
	d.table.mu.Unlock()
	if entries == nil && direction == "receive" {
		if kept := d.keptList(list.ID); kept != nil {
			list.Entries = kept
			return list, nil
		}
	}
	if entries == nil && direction == "send" {
		if src, err := transfer.LoadSource(d.sourcePath(list.ID)); err == nil {
			entries = src.Entries()
		}
	}
	list.Entries = entryObjects(entries)
	return list, nil
}

// entryObjects is what is shown of entries, the first of them.
func entryObjects(entries []transfer.Entry) []EntryObject {
	kinds := map[transfer.Kind]string{transfer.File: "file", transfer.Folder: "folder", transfer.Link: "link"}
	list := []EntryObject{}
	for _, x := range entries[:min(len(entries), maxShownEntries)] {
		list = append(list, EntryObject{kinds[x.Kind], x.Path, x.Size, x.Mode.String(), time.Unix(0, x.Mod).UTC(), x.Target})
	}
	return list
}

// transferRoutes are the API's for what is done to transfers.
func (d *Daemon) transferRoutes() []route {
	one := func(path, summary string, f func(*Daemon, string) (Transfer, error)) route {
		return route{method: "POST", path: path, summary: summary, out: Transfer{}, answer: func(r *http.Request) (any, error) { return f(d, r.PathValue("id")) }}
	}
	return []route{
		one("/v1/transfers/{id}/pause", "stop a transfer until it is resumed on this side", (*Daemon).Pause),
		one("/v1/transfers/{id}/resume", "go on with a transfer that is paused, or try one that is queued now", (*Daemon).Resume),
		one("/v1/transfers/{id}/retry", "take up a transfer that failed or was cancelled", (*Daemon).Retry),
		{
			method: "GET", path: "/v1/transfers/{id}/entries", summary: "the files, folders and links of a transfer, the first thousand", out: EntryList{},
			answer: func(r *http.Request) (any, error) { return d.Entries(r.PathValue("id")) },
		},
		{
			method: "POST", path: "/v1/transfers/{id}/verify", summary: "compare the files of a transfer that is done with their SHA3-256", out: Verified{},
			answer: func(r *http.Request) (any, error) { return d.Verify(r.Context(), r.PathValue("id")) },
		},
		{method: "POST", path: "/v1/transfers/gc", summary: "forget the transfers that have ended", out: Collected{}, answer: func(*http.Request) (any, error) { return d.Collect(), nil }},
	}
}

// changeTransfer changes a transfer: verb is pause, resume or retry.
func (c *Client) changeTransfer(ctx context.Context, id, verb string) (t Transfer, err error) {
	return t, c.do(ctx, http.MethodPost, "/v1/transfers/"+url.PathEscape(id)+"/"+verb, nil, &t)
}

// Pause stops a transfer until Resume.
func (c *Client) Pause(ctx context.Context, id string) (Transfer, error) {
	return c.changeTransfer(ctx, id, "pause")
}

// Resume goes on with a transfer.
func (c *Client) Resume(ctx context.Context, id string) (Transfer, error) {
	return c.changeTransfer(ctx, id, "resume")
}

// Retry takes up one that failed or was cancelled.
func (c *Client) Retry(ctx context.Context, id string) (Transfer, error) {
	return c.changeTransfer(ctx, id, "retry")
}

// Entries lists what is in a transfer.
func (c *Client) Entries(ctx context.Context, id string) (l EntryList, err error) {
	return l, c.do(ctx, http.MethodGet, "/v1/transfers/"+url.PathEscape(id)+"/entries", nil, &l)
}

// Collect forgets what has ended.
func (c *Client) Collect(ctx context.Context) (o Collected, err error) {
	return o, c.do(ctx, http.MethodPost, "/v1/transfers/gc", nil, &o)
}
