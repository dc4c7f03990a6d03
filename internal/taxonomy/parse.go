package taxonomy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/isogate/isogate"
)

// Parse reads a taxonomy.yaml:
//
//	labels:
//	  - label: personal.contact.pager
//	    definition: The number of a person's pager
//	    examples: ["0123 456", the pager in a rota]
//	    not: a hotline's number (public.contact)
//	    treat: token                # an action; the default where no rule says otherwise
//	    form: text                  # optional, as isogate.ParseForm reads it
//	    types: [string, number]     # optional; without it every type
//	    dpv: dpv-pd:TelephoneNumber # optional
//	    fides: user.contact         # optional
//	    replaced_by: …              # optional; marks a deprecated key
//
// The YAML is read strictly: one document, no unknown or repeated key, no
// anchor, alias, merge or tag. File is the name that errors give. Every mistake is
// reported at once, as [Errors]; the definitions returned beside them are
// those without one. What a definition means beside others is for
// [Taxonomy.Extend] to judge.
func Parse(file string, src []byte) ([]Definition, error) {
	p := &reader{file: file}
	// Repeated keys are found by mapping, so that they hide no other mistake.
	f, err := parser.ParseBytes(src, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		p.syntax(err)
		return nil, p.errs.err()
	}
	var defs []Definition
	switch {
	case len(f.Docs) > 1 && f.Docs[1].Body != nil:
		p.fail(f.Docs[1].Body.GetToken(), "keep one document in the file", "there is a second YAML document")
	case len(f.Docs) == 0 || f.Docs[0].Body == nil:
		p.errs = append(p.errs, &Error{File: file, Message: "the file is empty", Hint: "write labels: with a list below it, or remove the file"})
	default:
		p.refuseIndirect(f.Docs[0].Body)
		if len(p.errs) == 0 {
			defs = p.document(f.Docs[0].Body)
		}
	}
	return defs, p.errs.err()
}

// reader collects what is wrong while it reads one file.
type reader struct {
	file string
	errs Errors
}

func (p *reader) fail(tk *token.Token, hint, format string, args ...any) {
	p.errs = append(p.errs, &Error{File: p.file, Line: tk.Position.Line, Column: tk.Position.Column, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// syntax reports an error of the YAML parser, which knows the place but words its
// message for programmers.
func (p *reader) syntax(err error) {
	e := &Error{File: p.file, Message: err.Error(), Hint: "correct the YAML"}
	var ye yaml.Error
	if errors.As(err, &ye) && ye.GetToken() != nil {
		e.Message = ye.GetMessage()
		e.Line, e.Column = ye.GetToken().Position.Line, ye.GetToken().Position.Column
	}
	p.errs = append(p.errs, e)
}

// refuseIndirect refuses what makes a reader of the file see something else than the program does.
func (p *reader) refuseIndirect(n ast.Node) {
	ast.Walk(indirect{p}, n)
}

type indirect struct{ *reader }

func (v indirect) Visit(n ast.Node) ast.Visitor {
	what := ""
	switch n.(type) {
	case *ast.AnchorNode:
		what = "an anchor"
	case *ast.AliasNode:
		what = "an alias"
	case *ast.MergeKeyNode:
		what = "a merge key"
	case *ast.TagNode:
		what = "a tag"
	}
	if what != "" {
		v.fail(n.GetToken(), "write the value out", "there is %s", what)
		return nil
	}
	return v
}

func (p *reader) document(n ast.Node) []Definition {
	var defs []Definition
	p.mapping(n, []string{"labels"}, func(key string, v ast.Node) {
		seq, ok := v.(*ast.SequenceNode)
		if !ok {
			p.fail(v.GetToken(), "write a list: - label: …", "%s is not a list", key)
			return
		}
		for _, item := range seq.Values {
			before := len(p.errs)
			d := p.definition(item)
			if len(p.errs) == before {
				defs = append(defs, d)
			}
		}
	})
	return defs
}

var definitionKeys = []string{"label", "definition", "examples", "not", "treat", "form", "types", "dpv", "fides", "replaced_by"}

func (p *reader) definition(n ast.Node) Definition {
	at := n.GetToken()
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
		at = m.Values[0].Key.GetToken()
	}
	d := Definition{File: p.file, Line: at.Position.Line, Column: at.Position.Column}
	var form string
	var formAt *token.Token
	seen := map[string]bool{}
	ok := p.mapping(n, definitionKeys, func(key string, v ast.Node) {
		seen[key] = true
		switch key {
		case "label":
			d.Label = p.label(v)
		case "definition":
			d.Definition = p.text(v)
		case "examples":
			d.Examples = p.texts(v)
		case "not":
			d.Not = p.text(v)
		case "treat":
			d.Treat = p.action(v)
		case "form":
			form, formAt = p.text(v), v.GetToken()
		case "types":
			d.Types = p.kinds(v)
		case "dpv":
			d.DPV = p.term(v, "dpv-pd:", "dpv:")
		case "fides":
			d.Fides = p.term(v, "user", "system")
		case "replaced_by":
			d.ReplacedBy = p.label(v)
		}
	})
	if !ok {
		return d
	}
	if !seen["label"] {
		p.fail(at, "add label: with a dotted key", "the definition has no label")
	}
	if !seen["treat"] {
		p.fail(at, "add treat: with one of refuse, drop, redact, hash, token", "the definition has no treatment")
		return d
	}
	if formAt == nil {
		formAt = at
	}
	f, err := isogate.ParseForm(d.Treat, form)
	if err != nil {
		p.fail(formAt, "use a form that fits the treatment, or leave it out", "%v", err)
	}
	d.Form = f
	return d
}

// mapping calls each for every entry of n whose key is known. It reports
// whether n is a mapping.
func (p *reader) mapping(n ast.Node, keys []string, each func(key string, v ast.Node)) bool {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		p.fail(n.GetToken(), "write key: value lines with "+strings.Join(keys, ", "), "this is not a mapping")
		return false
	}
	first := map[string]int{}
	for _, e := range m.Values {
		key := e.Key.GetToken().Value
		line, twice := first[key]
		first[key] = e.Key.GetToken().Position.Line
		switch {
		case twice:
			p.fail(e.Key.GetToken(), "remove one of the two", "key %q is given twice, first in line %d", key, line)
		case !slices.Contains(keys, key):
			p.fail(e.Key.GetToken(), "use one of "+strings.Join(keys, ", "), "unknown key %q", key)
		case e.Value.Type() == ast.NullType:
			p.fail(e.Key.GetToken(), "give it a value or remove it", "%s has no value", key)
		default:
			each(key, e.Value)
		}
	}
	return true
}

func (p *reader) text(n ast.Node) string {
	switch s := n.(type) {
	case *ast.StringNode:
		if strings.TrimSpace(s.Value) == "" {
			p.fail(n.GetToken(), "write it out or remove the line", "the text is empty")
		}
		return s.Value
	case *ast.LiteralNode:
		return strings.TrimSpace(s.Value.Value)
	}
	p.fail(n.GetToken(), "put it in quotes", "this is not text")
	return ""
}

func (p *reader) texts(n ast.Node) []string {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		p.fail(n.GetToken(), "write [one, two]", "this is not a list")
		return nil
	}
	out := make([]string, 0, len(seq.Values))
	for _, v := range seq.Values {
		out = append(out, p.text(v))
	}
	return out
}

func (p *reader) label(n ast.Node) isogate.Label {
	l, err := isogate.ParseLabel(p.text(n))
	if err != nil {
		p.fail(n.GetToken(), "write one to four segments of a-z, 0-9 and _, joined by dots", "%v", err)
	}
	return l
}

func (p *reader) action(n ast.Node) isogate.Action {
	a, err := isogate.ParseAction(p.text(n))
	if err != nil {
		p.fail(n.GetToken(), "a pack's own label may be token at the loosest", "%v", err)
	}
	return a
}

func (p *reader) kinds(n ast.Node) []isogate.Kind {
	var out []isogate.Kind
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		p.fail(n.GetToken(), "write [string, number]", "this is not a list")
		return nil
	}
	for _, v := range seq.Values {
		k, err := isogate.ParseKind(v.GetToken().Value)
		switch {
		case err != nil:
			p.fail(v.GetToken(), "use string, number or bool; null is always taken", "%v", err)
		case slices.Contains(out, k):
			p.fail(v.GetToken(), "remove one of the two", "type %s is named twice", k)
		default:
			out = append(out, k)
		}
	}
	if len(seq.Values) == 0 {
		p.fail(n.GetToken(), "name the types, or leave the line out for every type", "types is empty")
	}
	return out
}

// term reads the name of a notion in another vocabulary.
func (p *reader) term(n ast.Node, prefixes ...string) string {
	s := p.text(n)
	for _, pre := range prefixes {
		if rest, ok := strings.CutPrefix(s, pre); ok && (rest == "" || rest[0] == '.' || strings.HasSuffix(pre, ":")) && !strings.ContainsAny(s, " \t") {
			return s
		}
	}
	p.fail(n.GetToken(), "write it as "+strings.Join(prefixes, "… or ")+"…", "%q is not a term of that vocabulary", s)
	return ""
}
