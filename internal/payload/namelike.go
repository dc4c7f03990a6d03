package payload

// NameLike reports whether a member name looks like a name that a program gave
// rather than like data: 1 to 64 ASCII letters, digits and - _ . / :, beginning
// with a letter or underscore, with at most four digits in all and no more than
// 32 letters and digits without a sign between them. Addresses, numbers, dates,
// UUIDs, digests and keys do not pass; a person's name in plain letters does,
// which is why only a verdict of allow lets such names out.
func NameLike(name []byte) bool {
	if len(name) == 0 || len(name) > 64 {
		return false
	}
	digits, run := 0, 0
	for i, c := range name {
		switch {
		case c|0x20 >= 'a' && c|0x20 <= 'z':
			run++
		case c == '_':
			run = 0
		case i == 0:
			return false
		case c >= '0' && c <= '9':
			digits++
			run++
		case c == '-' || c == '.' || c == '/' || c == ':':
			run = 0
		default:
			return false
		}
		if digits > 4 || run > 32 {
			return false
		}
	}
	return true
}
