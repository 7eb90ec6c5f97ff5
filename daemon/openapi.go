package daemon

import (
	"encoding"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"time"

	"traverse.internal/internal/cli"
)

// Spec is the local API's OpenAPI document, made of the table of routes and of the types that the handlers read and write.
func Spec() json.RawMessage {
	s := specMaker{schemas: map[string]any{}}
	paths := map[string]map[string]any{}
	for _, r := range (*Daemon)(nil).routes() {
		if paths[r.path] == nil {
			paths[r.path] = map[string]any{}
		}
		paths[r.path][strings.ToLower(r.method)] = s.operation(r)
	}
	raw, err := json.MarshalIndent(map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": "node", "version": Schema,
			"description": "The local API of a node, HTTP on its unix socket. Fields and resources are only ever added under /v1.",
		},
		"servers":    []any{map[string]any{"url": "http://node"}},
		"paths":      paths,
		"components": map[string]any{"schemas": s.schemas},
	}, "", "  ")
	if err != nil {
		panic(err) // maps, strings and slices of them
	}
	return raw
}

var pathParam = regexp.MustCompile(`\{(\w+)\}`)

type specMaker struct{ schemas map[string]any }

func (s specMaker) operation(r route) map[string]any {
	op := map[string]any{"summary": r.summary}
	var params []any
	for _, m := range pathParam.FindAllStringSubmatch(r.path, -1) {
		params = append(params, map[string]any{"name": m[1], "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
	}
	for _, q := range r.query {
		params = append(params, map[string]any{"name": q.name, "in": "query", "description": q.help, "schema": map[string]any{"type": "string"}})
	}
	if params != nil {
		op["parameters"] = params
	}
	if r.in != nil {
		op["requestBody"] = map[string]any{"required": true, "content": body("application/json", s.schema(reflect.TypeOf(r.in)))}
	}
	failed := map[string]any{"type": "object", "required": []string{"error"}, "properties": map[string]any{"error": s.schema(reflect.TypeFor[cli.Error]())}}
	answers := map[string]any{"422": map[string]any{"description": "what was wrong", "content": body("application/json", failed)}}
	switch r.stream {
	case streamUpgrade:
		answers["101"] = map[string]any{"description": "the connection carries the channel from here on, framed as docs/protocol/services.md says"}
	case streamSSE:
		answers["200"] = map[string]any{"description": "one event after the other", "content": body(streamSSE, s.schema(reflect.TypeOf(r.out)))}
	default:
		answers["200"] = map[string]any{"description": "the object that the command prints", "content": body("application/json", s.schema(reflect.TypeOf(r.out)))}
	}
	op["responses"] = answers
	return op
}

func body(kind string, schema any) map[string]any {
	return map[string]any{kind: map[string]any{"schema": schema}}
}

// schema is a type as JSON Schema; structs are noted by name and referred to.
func (s specMaker) schema(t reflect.Type) any {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[time.Duration]():
		return map[string]any{"type": "integer", "description": "nanoseconds"}
	case t.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return map[string]any{"type": "string"}
	case t == reflect.TypeFor[json.RawMessage]():
		return map[string]any{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.schema(t.Elem())
	case reflect.Slice, reflect.Array:
		return map[string]any{"type": "array", "items": s.schema(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": s.schema(t.Elem())}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Struct:
		name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
		if _, ok := s.schemas[name]; !ok {
			s.schemas[name] = nil // a type may contain itself
			properties, required := map[string]any{}, []string{}
			s.fields(t, properties, &required)
			s.schemas[name] = map[string]any{"type": "object", "properties": properties, "required": required}
		}
		return map[string]any{"$ref": "#/components/schemas/" + name}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	}
	return map[string]any{"type": "integer"}
}

// fields adds a struct's fields; those of embedded structs are its own.
func (s specMaker) fields(t reflect.Type, properties map[string]any, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			s.fields(f.Type, properties, required)
		case !f.IsExported() || name == "-" || name == "":
		default:
			properties[name] = s.schema(f.Type)
			if !strings.Contains(options, "omit") {
				*required = append(*required, name)
			}
		}
	}
}
