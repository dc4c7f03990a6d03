package policy

import (
	"errors"
	"slices"
	"sync"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/payload"
)

// contract says which field of a body carries which label.
type contract struct {
	name   string
	format payload.Format
	fields []field
	tree   *payload.Tree
	labels []isogate.Label // every label of the fields, sorted
	used   bool            // by a transit
	at     position        // of its name

	apart sync.Once
	alone []*payload.Tree // of each field by itself, for who said what; see lines
}

// lines are the fields compiled each by itself, in their order. They are made when first
// asked for: only explanations need them.
func (c *contract) lines() []*payload.Tree {
	c.apart.Do(func() {
		c.alone = make([]*payload.Tree, len(c.fields))
		for i := range c.fields {
			// What compiles with others compiles by itself.
			c.alone[i], _ = payload.Compile([]payload.Spec{c.fields[i].spec})
		}
	})
	return c.alone
}

// field is one line of a contract.
type field struct {
	path string
	spec payload.Spec
	at   position // of the path
}

// readContract reads contracts/*.yaml.
func (r *reader) readContract(root *node) {
	o, ok := r.object(root, "a contract", "contract", "description", "format", "fields")
	if !ok {
		return
	}
	c := &contract{at: o.at}
	nameNode := o.need("contract", "name the contract")
	name, named := r.name(nameNode, "contract", false)
	r.optional(o, "description")
	formatNode := o.need("format", "write json, ndjson or form")
	if s, ok := r.text(formatNode, "format"); ok {
		if c.format, ok = payload.FormatNamed(s); !ok {
			r.add(formatNode.at, "unknown format %q; %s", s, didYouMean(s, []string{"json", "ndjson", "form"}))
		}
	}
	before := r.n
	r.readFields(o, c)
	unlabelled := slices.ContainsFunc(c.fields, func(f field) bool { return f.spec.Label == "" })
	if r.n == before && !unlabelled {
		r.compileContract(c, o)
	}
	if !named {
		r.unknowable("contracts")
		return
	}
	c.name, c.at = name, nameNode.at
	if first := r.contracts[name]; first != nil {
		r.add(c.at, "the contract %q is there twice, first in %s; give one another name", name, first.at)
		return
	}
	r.contracts[name] = c
}

func (r *reader) readFields(o object, c *contract) {
	n := o.need("fields", "label the fields of the body: user.email: personal.contact.email")
	if n == nil {
		return
	}
	if n.shape != mapping || len(n.pairs) == 0 {
		r.add(n.at, "fields is %s; write a mapping from paths to labels: user.email: personal.contact.email", n.kind())
		return
	}
	for _, p := range n.pairs {
		r.readField(p, c)
	}
}

func (r *reader) readField(p pair, c *contract) {
	f := field{path: p.key.text, at: p.key.at}
	var err error
	if f.spec.Path, err = payload.ParsePath(f.path); err != nil {
		at, msg := f.at, err.Error()
		var pe *payload.PathError
		if errors.As(err, &pe) {
			at, msg = p.key.inside(pe.Offset), pe.Msg
		}
		r.add(at, "the path %s is not understood: %s", f.path, withHint(msg, "write it as user.email, items[].id or meta.*"))
	}
	if p.value.shape == mapping {
		r.readFieldOptions(p.value, c, &f)
	} else if l, ok := r.label(p.value, "the field "+f.path); ok {
		f.spec.Label = l
		f.spec.Types = r.typesOf(l)
	}
	if c.format != nil && c.format.Name() == "form" {
		f.spec.Types = 0 // a form has texts only
	}
	c.fields = append(c.fields, f)
}

// readFieldOptions reads the long form of a field: {label, types, key, parse}.
func (r *reader) readFieldOptions(n *node, c *contract, f *field) {
	o, _ := r.object(n, "a field", "label", "types", "key", "parse")
	if l, ok := r.label(o.need("label", "say what the field means"), "label"); ok {
		f.spec.Label = l
		f.spec.Types = r.typesOf(l)
	}
	if key := o.get("key"); key != nil {
		f.spec.Key, _ = r.label(key, "key")
	}
	if parse := o.get("parse"); parse != nil {
		if s, ok := r.text(parse, "parse"); ok && s != "json" {
			r.add(parse.at, "parse is %q; write json, the only text inside a string that is read", s)
		}
		f.spec.Parse = true
		f.spec.Types = 0
	}
	types := o.get("types")
	if types == nil {
		return
	}
	if c.format != nil && c.format.Name() == "form" {
		r.add(types.at, "a form has texts only; remove types")
		return
	}
	var kinds []isogate.Kind
	for _, item := range r.items(types, "types") {
		s, ok := r.text(item, "a type")
		if !ok {
			continue
		}
		k, err := isogate.ParseKind(s)
		if err != nil {
			r.add(item.at, "unknown type %q; %s", s, didYouMean(s, []string{"null", "bool", "number", "string"}))
			continue
		}
		kinds = append(kinds, k)
	}
	f.spec.Types = payload.TypesOf(kinds...)
}

// typesOf is the types that a label takes by its definition; null, the absence
// of a value, is always among them.
func (r *reader) typesOf(l isogate.Label) payload.Types {
	d, err := r.taxonomy.Lookup(l)
	if err != nil || len(d.Types) == 0 {
		return 0
	}
	return payload.TypesOf(append(slices.Clone(d.Types), isogate.Null)...)
}

func (r *reader) compileContract(c *contract, o object) {
	specs := make([]payload.Spec, len(c.fields))
	for i, f := range c.fields {
		specs[i] = f.spec
		c.labels = append(c.labels, f.spec.Label)
		if f.spec.Key != "" {
			c.labels = append(c.labels, f.spec.Key)
		}
	}
	slices.Sort(c.labels)
	c.labels = slices.Compact(c.labels)
	var err error
	if c.tree, err = payload.Compile(specs); err != nil {
		// The compiler judges the lines together; name the one it stopped at.
		at := o.at
		for i := range specs {
			if _, err := payload.Compile(specs[i : i+1]); err != nil {
				at = c.fields[i].at
				break
			}
		}
		r.add(at, "the fields cannot be compiled: %s", withHint(err.Error(), "change the line"))
	}
}
