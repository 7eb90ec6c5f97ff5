package transfer

import (
	"errors"
	"os"
	"testing"
)

// A receiver that has all of it says so at once; the sender knows the digest all the same, by what it remembers of the run before and by the files for what
// it does not.
func TestDigestOfWhatIsThere(t *testing.T) {
	for _, c := range []struct {
		name   string
		size   int
		forget func(j *Journal)
	}{
		{"remembered", 9*blockSize + 77, func(*Journal) {}},
		{"forgotten", 9*blockSize + 77, (*Journal).forget},
		{"empty", 0, func(*Journal) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := sourceOf(t, writeFile(t, "a file.bin", content(c.size)))
			journal := newJournal()
			a, b := memPipe("")
			sent := send(t.Context(), a, src, SendOptions{Journal: journal})
			first, err := receive(t.Context(), b, openDir(t), AcceptOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if out := <-sent; out.err != nil {
				t.Fatal(out.err)
			}
			c.forget(journal)

			a, b = memPipe("")
			sent = send(t.Context(), a, src, SendOptions{Journal: journal, ID: first.ID})
			in, err := ReadOffer(t.Context(), b, ReceiveOptions{})
			if err == nil {
				err = in.Have()
			}
			if err != nil {
				t.Fatal(err)
			}
			out := <-sent
			if out.err != nil || out.res.Digest != first.Digest {
				t.Errorf("sent again: %v, %v; want %v", out.res.Digest, out.err, first.Digest)
			}
		})
	}
}

// A digest that cannot be known any more unmakes nothing.
func TestDigestOfWhatIsGone(t *testing.T) {
	path := writeFile(t, "a file.bin", content(blockSize))
	src := sourceOf(t, path)
	a, b := memPipe("")
	sent := send(t.Context(), a, src, SendOptions{})
	in, err := ReadOffer(t.Context(), b, ReceiveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(path), in.Have()); err != nil {
		t.Fatal(err)
	}
	if out := <-sent; out.err != nil || out.res.Digest != (Digest{}) {
		t.Errorf("%v, %v", out.res.Digest, out.err)
	}
}
