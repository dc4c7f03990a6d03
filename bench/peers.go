package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unsafe"

	"github.com/bytedance/sonic"
	"github.com/bytedance/sonic/ast"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/valyala/fastjson"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/payload"
)

// rewriter rewrites a document by the contract that it was made for, and may
// use its buffers again in the next call.
type rewriter func(src []byte) ([]byte, error)

// swapper replaces one string as the contract says; all peers share it with
// ours, so that what differs is the reading and writing of JSON alone.
type swapper struct {
	rep payload.Replacer
	buf []byte
}

// swap returns the replacement of s at p, or false when it leaves as it is. The
// result is valid until the next call.
func (w *swapper) swap(p *place, s string) ([]byte, bool, error) {
	v := &unknownVerdict
	if p != nil && p.verdict != nil {
		v = p.verdict
	}
	if v.Action == isogate.Allow {
		return nil, false, nil
	}
	var err error
	w.buf, _, _, err = w.rep.Replace(w.buf[:0], v, isogate.Value{Kind: isogate.String, Text: unsafe.Slice(unsafe.StringData(s), len(s))})
	return w.buf, true, err
}

// anyPeer is what most programs do: decode into any, change, encode.
func anyPeer(root *place, rep payload.Replacer) rewriter {
	w := &swapper{rep: rep}
	var walk func(p *place, v any) (any, error)
	walk = func(p *place, v any) (any, error) {
		var err error
		switch t := v.(type) {
		case map[string]any:
			for k, e := range t {
				if t[k], err = walk(p.member(k), e); err != nil {
					return nil, err
				}
			}
		case []any:
			for i, e := range t {
				if t[i], err = walk(p.element(), e); err != nil {
					return nil, err
				}
			}
		case string:
			out, ok, err := w.swap(p, t)
			if ok {
				return string(out), err
			}
		}
		return v, nil
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	return func(src []byte) ([]byte, error) {
		var v any
		if err := json.Unmarshal(src, &v); err != nil {
			return nil, err
		}
		v, err := walk(root, v)
		if err != nil {
			return nil, err
		}
		out.Reset()
		if err := enc.Encode(v); err != nil {
			return nil, err
		}
		return out.Bytes(), nil
	}
}

// jsontextPeer copies token by token, with the duplicate names check that is on by default.
func jsontextPeer(root *place, rep payload.Replacer) rewriter {
	w := &swapper{rep: rep}
	var in bytes.Reader
	var out bytes.Buffer
	dec, enc := jsontext.NewDecoder(&in), jsontext.NewEncoder(&out)
	// at is where the walk is: the containers it is in, and in each the place of the next value.
	type frame struct{ in, next *place }
	var at []frame
	return func(src []byte) ([]byte, error) {
		in.Reset(src)
		out.Reset()
		dec.Reset(&in)
		enc.Reset(&out)
		at = append(at[:0], frame{next: root})
		for {
			top := &at[len(at)-1]
			kind, n := dec.StackIndex(dec.StackDepth())
			tok, err := dec.ReadToken()
			if err != nil {
				return nil, err
			}
			switch k := tok.Kind(); {
			case k == '}' || k == ']':
				at = at[:len(at)-1]
			case kind == '{' && n%2 == 0: // a name
				if dec.StackDepth() > 0 {
					top.next = top.in.member(tok.String())
				}
			case k == '{':
				at = append(at, frame{in: top.next})
			case k == '[':
				at = append(at, frame{in: top.next, next: top.next.element()})
			case k == '"':
				text, ok, err := w.swap(top.next, tok.String())
				if err != nil {
					return nil, err
				}
				if ok {
					tok = jsontext.String(string(text))
				}
			}
			if err := enc.WriteToken(tok); err != nil {
				return nil, err
			}
			if len(at) == 1 && dec.StackDepth() == 0 {
				return out.Bytes(), nil
			}
		}
	}
}

// sonicASTPeer decodes into sonic's tree of nodes, changes strings in it and encodes it.
func sonicASTPeer(root *place, rep payload.Replacer) rewriter {
	w := &swapper{rep: rep}
	var walk func(p *place, n *ast.Node) error
	walk = func(p *place, n *ast.Node) error {
		switch n.TypeSafe() {
		case ast.V_OBJECT:
			size, err := n.Len()
			if err != nil {
				return err
			}
			for i := range size {
				pair := n.IndexPair(i)
				if err := walk(p.member(pair.Key), &pair.Value); err != nil {
					return err
				}
			}
		case ast.V_ARRAY:
			size, err := n.Len()
			if err != nil {
				return err
			}
			for i := range size {
				if err := walk(p.element(), n.Index(i)); err != nil {
					return err
				}
			}
		case ast.V_STRING:
			s, err := n.StrictString()
			if err != nil {
				return err
			}
			text, ok, err := w.swap(p, s)
			if ok {
				*n = ast.NewString(string(text))
			}
			return err
		}
		return nil
	}
	return func(src []byte) ([]byte, error) {
		n, err := sonic.Get(src)
		if err != nil {
			return nil, err
		}
		if err := n.LoadAll(); err != nil {
			return nil, err
		}
		if err := walk(root, &n); err != nil {
			return nil, err
		}
		return n.MarshalJSON()
	}
}

// sonicVisitor writes the document anew while sonic reads it: the fastest of
// sonic's ways that was found.
type sonicVisitor struct {
	swapper
	root *place
	out  []byte
	at   []visited
}

type visited struct {
	in, next *place
	array    bool
	n        int
}

func sonicPreorderPeer(root *place, rep payload.Replacer) rewriter {
	v := &sonicVisitor{swapper: swapper{rep: rep}, root: root}
	return func(src []byte) ([]byte, error) {
		v.out = v.out[:0]
		v.at = append(v.at[:0], visited{next: root})
		if err := ast.Preorder(unsafe.String(unsafe.SliceData(src), len(src)), v, &ast.VisitorOptions{OnlyNumber: true}); err != nil {
			return nil, err
		}
		return v.out, nil
	}
}

func (v *sonicVisitor) before() *visited {
	top := &v.at[len(v.at)-1]
	if top.array {
		if top.n > 0 {
			v.out = append(v.out, ',')
		}
		top.n++
	}
	return top
}

func (v *sonicVisitor) OnNull() error {
	v.before()
	v.out = append(v.out, "null"...)
	return nil
}

func (v *sonicVisitor) OnBool(b bool) error {
	v.before()
	if b {
		v.out = append(v.out, "true"...)
	} else {
		v.out = append(v.out, "false"...)
	}
	return nil
}

func (v *sonicVisitor) OnString(s string) error {
	top := v.before()
	text, ok, err := v.swap(top.next, s)
	if ok {
		s = unsafe.String(unsafe.SliceData(text), len(text))
	}
	v.out = appendQuoted(v.out, s)
	return err
}

func (v *sonicVisitor) OnInt64(_ int64, n json.Number) error {
	v.before()
	v.out = append(v.out, n...)
	return nil
}

func (v *sonicVisitor) OnFloat64(_ float64, n json.Number) error {
	v.before()
	v.out = append(v.out, n...)
	return nil
}

func (v *sonicVisitor) OnObjectBegin(int) error {
	top := v.before()
	v.at = append(v.at, visited{in: top.next})
	v.out = append(v.out, '{')
	return nil
}

func (v *sonicVisitor) OnObjectKey(key string) error {
	top := &v.at[len(v.at)-1]
	if top.n > 0 {
		v.out = append(v.out, ',')
	}
	top.n++
	top.next = top.in.member(key)
	v.out = append(appendQuoted(v.out, key), ':')
	return nil
}

func (v *sonicVisitor) OnObjectEnd() error {
	v.at = v.at[:len(v.at)-1]
	v.out = append(v.out, '}')
	return nil
}

func (v *sonicVisitor) OnArrayBegin(int) error {
	top := v.before()
	v.at = append(v.at, visited{in: top.next, next: top.next.element(), array: true})
	v.out = append(v.out, '[')
	return nil
}

func (v *sonicVisitor) OnArrayEnd() error {
	v.at = v.at[:len(v.at)-1]
	v.out = append(v.out, ']')
	return nil
}

// appendQuoted writes a JSON string.
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		if j := strings.IndexByte("\"\\\b\f\n\r\t", c); j >= 0 {
			dst = append(dst, '\\', `"\bfnrt`[j])
		} else {
			dst = fmt.Appendf(dst, `\u%04x`, c)
		}
	}
	return append(append(dst, s[from:]...), '"')
}

// fastjsonPeer decodes into fastjson's tree, changes strings in it and encodes it.
func fastjsonPeer(root *place, rep payload.Replacer) rewriter {
	w := &swapper{rep: rep}
	var parser fastjson.Parser
	var arena fastjson.Arena
	var out []byte
	var walk func(p *place, v *fastjson.Value) error
	walk = func(p *place, v *fastjson.Value) error {
		switch v.Type() {
		case fastjson.TypeObject:
			o, err := v.Object()
			if err != nil {
				return err
			}
			o.Visit(func(key []byte, e *fastjson.Value) {
				if err == nil {
					err = walk(p.member(unsafe.String(unsafe.SliceData(key), len(key))), e)
				}
			})
			return err
		case fastjson.TypeArray:
			es, err := v.Array()
			if err != nil {
				return err
			}
			for _, e := range es {
				if err := walk(p.element(), e); err != nil {
					return err
				}
			}
		case fastjson.TypeString:
			s, err := v.StringBytes()
			if err != nil {
				return err
			}
			text, ok, err := w.swap(p, unsafe.String(unsafe.SliceData(s), len(s)))
			if ok {
				*v = *arena.NewStringBytes(text)
			}
			return err
		}
		return nil
	}
	return func(src []byte) ([]byte, error) {
		arena.Reset()
		v, err := parser.ParseBytes(src)
		if err != nil {
			return nil, err
		}
		if err := walk(root, v); err != nil {
			return nil, err
		}
		out = v.MarshalTo(out[:0])
		return out, nil
	}
}

// isogatePeer is ours.
func isogatePeer(rules *payload.Rules, rep payload.Replacer) rewriter {
	format, _ := payload.FormatNamed("json")
	var out []byte
	var tally payload.Tally
	return func(src []byte) ([]byte, error) {
		tally.Reset()
		var err error
		out, err = format.Rewrite(out[:0], src, rules, rep, &tally)
		return out, err
	}
}
