package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// What differs between two runs, and what stands for it in the page.
var normal = []struct {
	from *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`t-[a-z2-7]{26}`), "t-7f3kq2zj5m4xw6ydb3vrhc7nae"},
	{regexp.MustCompile(`f-[a-z2-7]{8}`), "f-7f3kq2zj"},
	{regexp.MustCompile(`"(id|session)":"[0-9a-f]{8}"`), `"$1":"5b0c93e1"`},
	{regexp.MustCompile(`"(took|after|open|echo|least|most)_ns":\d+`), `"${1}_ns":1234567`},

	{regexp.MustCompile(`"dials":\d+`), `"dials":1`},
	{regexp.MustCompile(`"id":\d+`), `"id":32769`},
	{regexp.MustCompile(`"(rtt_ns|bytes_in|bytes_out|retained|queued|unread|window)":\d+`), `"$1":262144`},
	{regexp.MustCompile(`"\d{4}-\d\d-\d\dT[0-9:.]+(Z|[+-]\d\d:\d\d)"`), `"2026-01-02T15:04:05.678901234Z"`},
	{regexp.MustCompile(`"rate_bps":[1-9]\d*`), `"rate_bps":104857600`},
	{regexp.MustCompile(`"(sha3":"[0-9a-f]{64}|eta_ns":\d+|retry_at":"[^"]*)"?,`), ``}, // comes a moment after the end, or goes with it
	{regexp.MustCompile(`"digest":"[0-9a-f]{64}"`), `"digest":"39a944e7f6a85fb1fdf7c1d665ab342e302de384926356200983ad42b5f60aae"`},
	{regexp.MustCompile(`"(serial)":"[0-9a-f]+"`), `"$1":"5b0c93e1d24f"`},
	{regexp.MustCompile(`"sha256":"[0-9a-f]{64}"`), `"sha256":"39a944e7f6a85fb1fdf7c1d665ab342e302de384926356200983ad42b5f60aae"`},
	{regexp.MustCompile(`"ticket":"[^"]*"`), `"ticket":"traverse1…"`},
	{regexp.MustCompile(`"version":\d+`), `"version":1767323045`}, // of an account's list
	{regexp.MustCompile(`"nodes":\d+`), `"nodes":1`},
	{regexp.MustCompile(`"channels":\d+`), `"channels":0`},
	{regexp.MustCompile(`"ms":[0-9.e+-]+`), `"ms":1.234`},
	{regexp.MustCompile(`[0-9.]+ (ms|s)\b`), `1.2 $1`},
	{regexp.MustCompile(`"local":"[^"]*"`), `"local":"127.0.0.1:40001"`},
	{regexp.MustCompile(`"remote":"[^"]*"`), `"remote":"127.0.0.1:40002"`},
	{regexp.MustCompile(`"relay":"[^"]*"`), `"relay":"127.0.0.1:40003"`},
	{regexp.MustCompile(`"listen":"[^"]*"`), `"listen":"127.0.0.1:17001"`},
	{regexp.MustCompile(`"metrics":"[^"]*"`), `"metrics":"127.0.0.1:19642"`},
	{regexp.MustCompile(`://127.0.0.1:\d+`), `://127.0.0.1:13478`},
	{regexp.MustCompile(`on \[127.0.0.1:\d+ \[::1\]:\d+\]`), `on [127.0.0.1:13478 [::1]:13478]`},
	{regexp.MustCompile(`seed on 127.0.0.1:\d+`), `seed on 127.0.0.1:17001`},
}

var wholeID = regexp.MustCompile(`([A-Z2-7]{7}-){7}[A-Z2-7]{7}`)

// block is an object as the page shows it.
func (h *twoHomes) block(raw string) string {
	h.t.Helper()
	// The keys are RFC 8032's first three test vectors.
	const laptop, phone, other = "25NJQAM-CWEFLPM-VKL73J4-SZAHHIT-HOC4XT3-KTCGJNJ-PAINGR5-YHKENAI",
		"HVABPQ7-IIOEVVB-EVXBKTU-2G36XSJ-OJQLGPF-3CJNDGZ-AZVK7CK-XUMYGA2", "7RI43DT-CDCQ2HQ-DNEP3IA-EMHQLAI-EBN3ITX-IZQHLCI-55OIRKS-EQQASQK"
	known := map[string]string{h.id("laptop"): laptop, h.id("phone"): phone}
	raw = wholeID.ReplaceAllStringFunc(raw, func(id string) string { return cmp.Or(known[id], other) })
	raw = strings.ReplaceAll(raw, h.dir, "/home/me")
	for _, n := range normal {
		raw = n.from.ReplaceAllString(raw, n.to)
	}
	var b strings.Builder
	layout(&b, json.RawMessage(strings.TrimSpace(raw)), "")
	return "```json\n" + b.String() + "\n```\n"
}

// layout writes a value on one line where it fits, else each member on a line of its own.
func layout(b *strings.Builder, raw json.RawMessage, indent string) {
	const width = 120
	if len(indent)+len(raw) <= width || raw[0] != '{' && raw[0] != '[' {
		b.Write(raw)
		return
	}
	in := json.NewDecoder(bytes.NewReader(raw))
	_, _ = in.Token()
	b.WriteByte(raw[0])
	for first := true; in.More(); first = false {
		if !first {
			b.WriteByte(',')
		}
		b.WriteString("\n" + indent + "  ")
		if raw[0] == '{' {
			key, _ := in.Token()
			fmt.Fprintf(b, "%q: ", key)
		}
		var member json.RawMessage
		_ = in.Decode(&member)
		layout(b, member, indent+"  ")
	}
	b.WriteString("\n" + indent + string(raw[len(raw)-1]))
}
