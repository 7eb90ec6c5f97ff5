package muxdecode

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// requestFields is the table of section 4. A name's own rules come last of all, so name reads any str.
var requestFields = map[string]func(*input) (string, error){
	"id":       channel,
	"name":     anyStr,
	"isAnswer": boolean,
	"accepted": boolean,
	"reason":   reason,
}

func anyStr(in *input) (string, error) {
	v, err := in.expect(kindStr)
	return string(v.bytes), err
}

// Request decodes a body of channel 0 (section 4).
func Request(body []byte) (string, error) {
	if len(body) > maxControl {
		return "", malformed
	}
	in := input(body)
	head, err := in.expect(kindMap)
	if err != nil {
		return "", err
	}
	values := map[string]string{}
	for range head.count {
		key, err := in.expect(kindStr)
		if err != nil {
			return "", err
		}
		read, known := requestFields[string(key.bytes)]
		if !known {
			if err := in.skip(maxDepth); err != nil {
				return "", err
			}
			continue
		}
		if _, twice := values[string(key.bytes)]; twice {
			return "", malformed
		}
		if values[string(key.bytes)], err = read(&in); err != nil {
			return "", err
		}
	}
	if len(in) > 0 {
		return "", malformed
	}
	return requestText(values)
}

// requestText checks which fields are there together, then the name.
func requestText(values map[string]string) (string, error) {
	has := func(key string) bool { _, ok := values[key]; return ok }
	if !has("id") || !has("name") || !has("isAnswer") {
		return "", malformed
	}
	isAnswer := values["isAnswer"] == "true"
	if has("accepted") != isAnswer {
		return "", malformed
	}
	if has("reason") && values["accepted"] != "false" {
		return "", malformed
	}
	name := values["name"]
	if len(name) < 1 || len(name) > 1024 || !utf8.ValidString(name) {
		if isAnswer {
			return "", malformed
		}
		number, err := strconv.ParseUint(values["id"], 16, 16)
		if err != nil {
			return "", err
		}
		return "", Error{Kind: "name", Number: number}
	}
	s := fmt.Sprintf("ChannelRequest id=%s name=%q isAnswer=%t", values["id"], name, isAnswer)
	if isAnswer {
		text := values["reason"]
		if text == "" {
			text = `""`
		}
		s += fmt.Sprintf(" accepted=%s reason=%s", values["accepted"], text)
	}
	return s, nil
}
