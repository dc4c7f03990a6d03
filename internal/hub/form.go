package hub

import (
	"net/http"
	"net/url"
	"slices"
)

// filled is what somebody put into a form, and what was wrong with it, so that the
// form can be shown again with both. Its zero value is a form that nobody filled in.
type filled struct {
	values url.Values
	wrong  *Problem
	places []string // fields that the page says of what is wrong with them
}

// fill reads a posted form of these fields.
func (v *visit) fill(names ...string) (filled, error) {
	values, err := v.form(names...)
	if err != nil {
		return filled{}, err
	}
	return filled{values: values}, nil
}

// Get is what a field has.
func (f filled) Get(name string) string { return f.values.Get(name) }

// Or is what a field has, or something else where nobody sent the form.
func (f filled) Or(name, otherwise string) string {
	if f.values == nil {
		return otherwise
	}
	return f.Get(name)
}

// Ticked reports whether a box was ticked, or should be where nobody sent the form.
func (f filled) Ticked(name, value string, otherwise bool) bool {
	if f.values == nil {
		return otherwise
	}
	return slices.Contains(f.values[name], value)
}

// At is what is wrong with a field; "" if nothing.
func (f filled) At(name string) string {
	if f.wrong == nil || f.wrong.input != name || !slices.Contains(f.places, name) {
		return ""
	}
	return f.wrong.Detail
}

// Place is the field of which something is wrong; "" if that is none.
func (f filled) Place() string {
	if f.wrong == nil || !slices.Contains(f.places, f.wrong.input) {
		return ""
	}
	return f.wrong.input
}

// Trouble is what is wrong with all of it; nil if nothing is, or it stands at a field.
func (f filled) Trouble() *Problem {
	if f.wrong == nil || slices.Contains(f.places, f.wrong.input) {
		return nil
	}
	return f.wrong
}

// list is the values of a field that may be there more often, as an act takes them.
func (f filled) list(name string) *[]string {
	all := f.values[name]
	if all == nil {
		all = []string{}
	}
	return &all
}

// because is the form with what was wrong with it. A failure that is not of the
// person's making is for failPage, which logs it.
func (f filled) because(err error, places ...string) (filled, int, error) {
	p := problemOf(err)
	if p.Status == http.StatusInternalServerError || p.Status == http.StatusNotFound {
		return f, 0, err
	}
	f.wrong, f.places = p, places
	return f, p.Status, nil
}
