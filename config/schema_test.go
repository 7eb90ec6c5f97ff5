package config

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// validate says which of the TOML documents a validator that is not ours takes by the schema.
const validate = `
import json, sys
from jsonschema import Draft202012Validator as V
work = json.load(sys.stdin)
V.check_schema(work["schema"])
v = V(work["schema"])
json.dump([next((e.json_path + ": " + e.message for e in v.iter_errors(f)), "") for f in work["files"]], sys.stdout)
`

// bySchema returns what the validator says of each file, "" of what it takes.
func bySchema(t *testing.T, files []string) []string {
	t.Helper()
	if out, err := exec.Command("python3", "-c", "import jsonschema").CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: no python3-jsonschema: %v %s", err, out)
	}
	docs := make([]map[string]any, len(files))
	for i, file := range files {
		docs[i] = map[string]any{}
		if err := toml.Unmarshal([]byte(file), &docs[i]); err != nil {
			t.Fatalf("%s\n%v", file, err)
		}
	}
	work, err := json.Marshal(map[string]any{"schema": json.RawMessage(Schema()), "files": docs})
	if err != nil {
		t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	cmd := exec.Command("python3", "-c", validate)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(work), &out, &errOut
	var said []string
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, errOut.String())
	}
	if err := json.Unmarshal(out.Bytes(), &said); err != nil || len(said) != len(files) {
		t.Fatalf("%v: %s", err, out.String())
	}
	return said
}

// What Load takes the schema takes.
func TestSchemaTakesWhatIsRight(t *testing.T) {
	c, err := load("t.toml", []byte(full), fullEnv, nil)
	if err != nil {
		t.Fatal(err)
	}
	files := []string{full, Template("node"), Template("turnd"), "", "schema = 1", WriteTOML(c.Settings(""), nil)}
	for _, k := range table {
		if isRelay(k.Name) {
			continue
		}
		i := strings.LastIndexByte(k.Name, '.')
		head := "[" + k.Name[:i] + "]\n" + k.Name[i+1:] + " = "
		files = append(files, head+k.toml(k.Default))
		for _, word := range k.Words() {
			files = append(files, head+k.toml(word))
		}
	}
	for _, value := range []string{
		`[signalling]` + "\n" + `timeout = "1m30s"`, `[signalling]` + "\n" + `timeout = "15.5s"`, "[transfer]\nmin_free = \"1.5 GiB\"", "[transfer]\nmin_free = \"0\"",
		"[dht]\nlisten = \"[::1]:1\"", "[dht]\nbootstrap = [\" router.example:6881\", \"[2001:db8::1]:1\"]", "[turnd]\nlisten_udp = [\":3478\", \"[::]:1\"]\nallow_peer = [\"10.0.0.1\", \"fd00::/8\"]",
		"[node]\nlisten = [\"tcp://192.0.2.1:4\", \"tcp://[::1]:4\"]", "[turnd.limits]\nper_ip = 0x10\nrate = \"20MiB\"", "[[relay]]\nurl = \"turns:h:5349\"",
		"[api]\ndashboard = \"\"\n[metrics]\nlisten = \"localhost:9\"", "[turnd]\nrelay_ip4 = \"::ffff:192.0.2.1\"",
	} {
		if _, err := load("t.toml", []byte(value), nil, nil); err != nil {
			t.Fatalf("%s: %v", value, err)
		}
		files = append(files, value)
	}
	for i, said := range bySchema(t, files) {
		if said != "" {
			t.Errorf("the schema refuses\n%s\n%s", files[i], said)
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	files := []string{
		"schema = 2",
		"[dht]\nmod = \"private\"",
		"[dth]\n",
		"[mux]\nwindow = \"256KiB\"",
		"dht = 5",
		"[[dht]]\nmode = \"private\"",
		"[relay]\nurl = \"turn:u@h:1\"",
		"relay = [\"turn:u@h:1\"]",
		"[[relay]]\npassword_file = \"p\"",
		"[[relay]]\nurl = \"http://h\"",
		"[[relay]]\nurl = \"turn:u@h:1\"\npassword = \"hunter2\"",
		"[dht]\nmode = \"privat\"",
		"[turnd]\nenabled = \"true\"",
		"[path]\npolicy = true",
		"[dht]\nbootstrap = \"a:1\"",
		"[dht]\nbootstrap = [1]",
		"[dht]\nbootstrap = [\"a:1\", \"b\"]",
		"[turnd.limits]\nper_user = \"5\"",
		"[turnd.limits]\nper_user = 0",
		"[turnd.limits]\nper_user = 1.5",
		"[transfer]\nmin_free = \"100\"",
		"[transfer]\nmin_free = 100",
		"[transfer]\nmin_free = \"1gib\"",
		"[signalling]\ntimeout = \"soon\"",
		"[dht]\nlisten = \"localhost\"",
		"[node]\nlisten = [\"udp://:0\"]",
		"[turnd]\nport_range = \"5000\"",
		"[turnd]\nallow_peer = [\"LAN\"]",
		"[turnd.mint]\nuris = [\"http://x\"]",
		"[turnd.acme]\ndirectory = \"http://x\"",
	}
	for _, file := range files {
		if _, err := load("t.toml", []byte(file), nil, nil); err == nil {
			t.Fatalf("Load takes\n%s", file)
		}
	}
	for i, said := range bySchema(t, files) {
		if said == "" {
			t.Errorf("the schema takes\n%s", files[i])
		}
	}
}

// Every type has its pattern, or none on purpose, and every key is in the schema.
func TestSchemaHasAllTypes(t *testing.T) {
	for _, k := range table {
		if _, known := schemaPatterns[k.Type]; !known && k.field.words == nil {
			t.Errorf("%s: the schema knows nothing of %q", k.Name, k.Type)
		}
		if !strings.Contains(string(Schema()), `"x-variable": "`+k.Env+`"`) {
			t.Errorf("%s is not in the schema", k.Name)
		}
	}
}
