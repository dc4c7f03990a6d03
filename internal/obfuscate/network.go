package obfuscate

import "net/netip"

const (
	maxBits4 = 24 // of an IPv4 address, however fine a network the form asks for
	maxBits6 = 64 // of an IPv6 address: what lies behind is one subnet's hosts
)

// appendNetwork appends the first address of the network that an address lies
// in. N up to 32 is meant for IPv4, whose sites have roughly as many addresses
// as an IPv6 site of twice the prefix: network-24 keeps 24 bits of an IPv4
// address and 48 of an IPv6 one. N beyond 32 is meant for IPv6, and IPv4 keeps
// half as many. An IPv4 address never keeps more than 24 bits, an IPv6 one never
// more than 64. An IPv4-mapped address is its IPv4 address.
func appendNetwork(dst []byte, n int, text []byte) ([]byte, bool) {
	if len(text) > len("0000:0000:0000:0000:0000:ffff:255.255.255.255") || n < 1 {
		return dst, false
	}
	addr, err := netip.ParseAddr(string(text))
	if err != nil || addr.Zone() != "" {
		return dst, false
	}
	bits4, bits6 := n, 2*n
	if n > 32 {
		bits4, bits6 = n/2, n
	}
	bits4, bits6 = min(bits4, maxBits4), min(bits6, maxBits6)
	addr = addr.Unmap()
	bits := bits4
	if addr.Is6() {
		bits = bits6
		if b := addr.As16(); b[0] == 0x20 && b[1] == 0x02 {
			// 6to4 (RFC 3056) carries a whole IPv4 address from bit 16 on.
			bits = min(bits, 16+bits4)
		}
	}
	return netip.PrefixFrom(addr, bits).Masked().Addr().AppendTo(dst), true
}
