package seal

// OpenKey opens one decoded seal under key, which may lie outside the Go heap and
// of which no copy and no key schedule stays behind. C is the key's context. Raw is
// the seal decoded, as [Opener] is given it; it is not changed.
// The value is appended to scratch[:0]: with a capacity of len(raw) nothing is
// allocated for it, and where it is wiped is the caller's to choose.
func OpenKey(key *[32]byte, c *Context, raw, scratch []byte) (Opened, error) {
	panic("seal: not yet")
}

// Parse reads one seal that is all of text, in any case of letters: the ID of its
// key, and the seal decoded.
func Parse(text []byte) (id ID, raw []byte, ok bool) { panic("seal: not yet") }
