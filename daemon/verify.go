package daemon

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"

	"traverse.internal/internal/cli"
)

// Verified is what `transfers verify` prints.
type Verified struct {
	cli.Envelope
	ID    string      `json:"id"`
	Files int         `json:"files"` // that were looked at
	Bytes int64       `json:"bytes"` // of those that are as they were
	Count int         `json:"wrong_count"`
	Wrong []WrongFile `json:"wrong"` // the first of them
}

// WrongFile is a file that is not what it was when its transfer was done.
type WrongFile struct {
	Path string `json:"path"`
	What string `json:"what"` // changed, or gone
}

// maxWrongFiles bounds the list; 1,000 paths of 4 KiB fit in a reply.
const maxWrongFiles = 1000

// Verify reads the files of a transfer that is done from the disk, and compares them with the SHA3-256 that they had.
func (d *Daemon) Verify(ctx context.Context, id string) (Verified, error) {
	e, err := d.table.find(id)
	if group := d.table.group(id); group != nil {
		e, err = group[0], nil // what was sent is the same to all
		for _, member := range group {
			if shown, _ := d.table.look(member); shown.State == StateDone {
				e = member
			}
		}
	}
	if err != nil {
		return Verified{}, err
	}
	shown, _ := d.table.look(e)
	list, err := d.store.ContentOf(shown.ID)
	if err != nil {
		return Verified{}, cli.Errorf("E_LOCAL_IO", "cannot read the store of transfers").Because(err)
	}
	if len(list) == 0 {
		return Verified{}, cli.Errorf("E_USAGE", "no digest is known of the files of %s", shown.ID).
			Hint("they are computed some time after a transfer is done; its state is %s", shown.State)
	}
	out, buf := Verified{Envelope: envelope("verified"), ID: shown.ID, Files: len(list), Wrong: []WrongFile{}}, make([]byte, sumBuffer)
	for _, c := range list {
		var path []byte
		if ctx.Err() != nil || json.Unmarshal(c.Place, &path) != nil {
			return Verified{}, cli.Errorf("E_CANCELLED", "the files were not all looked at")
		}
		what := "changed"
		sum, ok := d.sumFile(string(path), buf, nil)
		info, err := os.Stat(string(path))
		switch {
		case ok && err == nil && sum == c.Sum:
			out.Bytes += info.Size()
			continue
		case os.IsNotExist(err):
			what = "gone"
		}
		if out.Count++; len(out.Wrong) < maxWrongFiles {
			out.Wrong = append(out.Wrong, WrongFile{string(path), what})
		}
	}
	return out, nil
}

// Verify compares the files of a transfer with their digests.
func (c *Client) Verify(ctx context.Context, id string) (v Verified, err error) {
	return v, c.do(ctx, http.MethodPost, "/v1/transfers/"+url.PathEscape(id)+"/verify", nil, &v)
}
