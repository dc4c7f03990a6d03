// Package payload walks a body in its format and rewrites it, value by value,
// as the verdicts of its labels say. It decides nothing: a contract, compiled
// by [Compile], says which place of a body carries which label; a table of
// verdicts says what may leave of each combination of labels; a [Replacer]
// makes the replacements. What nobody named is unclassified.
//
// # What is accepted
//
// JSON is RFC 8259 as narrowed by I-JSON (RFC 7493). Refused with the byte
// offset, never with a value: anything RFC 8259 does not allow; a byte order
// mark; invalid UTF-8; surrogates without their other half and noncharacters,
// written out or escaped; two members of one object with the same name, compared
// after unescaping; a number whose magnitude a float64 cannot hold (1e400);
// anything after the value; and what exceeds [Limits]. Accepted and left as they
// are spelled: -0, numbers that round to zero (1e-400) or lose digits in a
// float64 (64-bit identifiers), and an escaped NUL, which I-JSON allows: it is
// part of the text, so a name with a NUL is another name.
//
// NDJSON is one JSON value in each line, ended by LF or CRLF; the last line may
// do without. A blank line is refused. Forms and query strings are described at
// [FormatNamed] and [RewriteQuery].
//
// # Paths
//
// A path names a place of a body. See [ParsePath]; for example:
//
//	user.email                              a member of a member
//	tickets[].title                         of every element
//	attributes[key=user.email].value        of the elements whose member key is the text user.email
//	meta.*                                  every member of meta, whatever its name
//	meta.**                                 everything in meta, and meta itself
//	labels.'app.kubernetes.io/name'         a name with dots
//	[].id                                   the body is an array
//	$                                       the body is one scalar
//
// # What leaves
//
// With the contract user.email: personal.contact.email, a verdict of token for
// that label and one of token for unclassified, the body
//
//	{"user": {"email": "ada@example.com", "note": "calls often"}}
//
// leaves as
//
//	{"user": {"email": "<token>", "<pseudonym of note>": "<token>"}}
//
// and every byte between the values is copied through. Only scalars are judged;
// objects and arrays are the places where they stand. A value of a type that its
// place does not take is judged as unclassified, unless its own label is
// stricter. The name of a member leaves as it is when the contract spells it. A
// name that only a wildcard lets in leaves when the verdict of its value (or of
// [Spec].Key) is allow and the name looks like one (see [NameLike]); any other
// is replaced, or dropped with all it holds when its verdict is drop.
package payload
