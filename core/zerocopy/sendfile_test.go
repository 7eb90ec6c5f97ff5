package zerocopy

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// A head and a part of a file arrive as one, wherever the file's own offset is; a shorter file is the file's fault.
func TestSendFile(t *testing.T) {
	l := newLine(t, Options{})
	content := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	before := ReadStats()
	type result struct {
		sent int
		err  error
	}
	results := make(chan result, 2)
	go func() {
		sent, err := SendFile(l.near, []byte("head"), f, 7, 300_000)
		results <- result{sent, err}
		sent, err = SendFile(l.near, nil, f, 310_000, 20_000)
		results <- result{sent, err}
		_ = l.near.CloseWrite()
	}()
	got, err := io.ReadAll(l.far)
	want := append([]byte("head"), content[7:300_007]...)
	want = append(want, content[310_000:]...)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v, want %d, or other ones", len(got), err, len(want))
	}
	if r := <-results; r.sent != 300_004 || r.err != nil {
		t.Errorf("whole: %d, %v", r.sent, r.err)
	}
	var short *FileError
	if r := <-results; r.sent != 10_000 || !errors.As(r.err, &short) || !errors.Is(r.err, io.ErrUnexpectedEOF) {
		t.Errorf("short: %d, %v", r.sent, r.err)
	}
	if at, err := f.Seek(0, io.SeekCurrent); at != 0 || err != nil {
		t.Errorf("the file's offset is %d, %v", at, err)
	}
	if s := ReadStats(); s.FileSent+s.FileCopied-before.FileSent-before.FileCopied != 310_000 {
		t.Errorf("counted %+v, before %+v", s, before)
	}
	f.Close()
	if _, err := SendFile(l.near, nil, f, 0, 1); !errors.As(err, &short) {
		t.Errorf("a closed file: %v", err)
	}
	l.far.Close()
	l.near.Close()
	_ = l.wait(t)
}
