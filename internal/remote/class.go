// Package remote guards the only way out to the network. Nothing else in the
// gateway opens connections to the outside.
//
// An address is public or it is not dialled ([Classify]); a host has one
// spelling or it is not looked up ([CanonicalHost]); and what is checked is the
// address that is really connected to, not the name that led there ([Dialer]).
//
// It also knows where an app says that its data goes: a manifest is read into
// rows ([ParseManifest], [Row]), a row lets out what it says and nothing else
// ([Row.Allows]), and of another manifest only what goes beyond the approved rows
// has to be asked for ([Compare]). Who approved what is not known here.
package remote

import (
	"fmt"
	"net/netip"
)

// Class is what kind of address an address is. Its String is the reason to
// refuse it; only Public is none. The zero value refuses.
type Class uint8

// The classes of addresses.
const (
	Invalid Class = iota
	Zoned
	Unspecified
	ThisNetwork
	Loopback
	Private
	SharedSpace
	LinkLocal
	Metadata
	Multicast
	Broadcast
	Documentation
	Benchmarking
	ProtocolAssignment
	AS112
	Relay
	Reserved
	Mapped
	Compatible
	Translated
	NAT64
	SixToFour
	Teredo
	ISATAP
	SiteLocal
	UniqueLocal
	ORCHID
	Discard
	SegmentRouting
	Public
)

var classNames = [...]string{
	Invalid:            "not an address",
	Zoned:              "an address with a zone",
	Unspecified:        "the unspecified address",
	ThisNetwork:        "an address of this network (0.0.0.0/8)",
	Loopback:           "a loopback address",
	Private:            "a private address",
	SharedSpace:        "an address of a carrier's shared space",
	LinkLocal:          "a link-local address",
	Metadata:           "the address of a cloud's metadata service",
	Multicast:          "a multicast address",
	Broadcast:          "the broadcast address",
	Documentation:      "an address for documentation",
	Benchmarking:       "an address for benchmarking",
	ProtocolAssignment: "an address assigned to a protocol",
	AS112:              "an address of the AS112 sink",
	Relay:              "the anycast address of a relay",
	Reserved:           "a reserved address",
	Mapped:             "an IPv4 address mapped into IPv6",
	Compatible:         "an IPv4-compatible IPv6 address",
	Translated:         "an IPv4-translated IPv6 address",
	NAT64:              "an IPv4 address behind NAT64",
	SixToFour:          "an IPv4 address behind 6to4",
	Teredo:             "an IPv4 address behind Teredo",
	ISATAP:             "an IPv4 address behind ISATAP",
	SiteLocal:          "a site-local address",
	UniqueLocal:        "a unique local address",
	ORCHID:             "an identifier, not an address (ORCHID, DRIP)",
	Discard:            "a discard address",
	SegmentRouting:     "a segment routing identifier",
	Public:             "a public address",
}

func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return fmt.Sprintf("invalid(%d)", uint8(c))
}

// row is one line of the tables.
type row struct {
	prefix netip.Prefix
	class  Class
}

func table(rows ...any) []row {
	var t []row
	for i := 0; i < len(rows); i += 2 {
		t = append(t, row{netip.MustParsePrefix(rows[i].(string)), rows[i+1].(Class)})
	}
	return t
}

// The IANA special-purpose address registries (RFC 6890 and its updates, as of
// 2025), the multicast and reserved blocks, and the metadata services of the
// large clouds. What the registries call globally reachable is refused all the
// same: those are relays and sinks, not services. The first row that contains an
// address decides, so narrower rows come first.
var (
	special4 = table(
		"0.0.0.0/32", Unspecified,
		"0.0.0.0/8", ThisNetwork, // RFC 791
		"10.0.0.0/8", Private, // RFC 1918
		"100.100.100.200/32", Metadata, // Alibaba Cloud
		"100.64.0.0/10", SharedSpace, // RFC 6598
		"127.0.0.0/8", Loopback, // RFC 1122
		"168.63.129.16/32", Metadata, // Azure's host agent: a public address that never leaves the host
		"169.254.169.254/32", Metadata, // RFC 3927; AWS, Google Cloud, Azure and others
		"169.254.170.2/32", Metadata, // AWS ECS
		"169.254.170.23/32", Metadata, // AWS EKS
		"169.254.0.0/16", LinkLocal, // RFC 3927
		"172.16.0.0/12", Private, // RFC 1918
		"192.0.0.192/32", Metadata, // Oracle Cloud
		"192.0.0.0/24", ProtocolAssignment, // RFC 6890, 7335, 7600, 7723, 8155, 7050
		"192.0.2.0/24", Documentation, // RFC 5737
		"192.31.196.0/24", AS112, // RFC 7535
		"192.52.193.0/24", Relay, // RFC 7450, AMT
		"192.88.99.0/24", Relay, // RFC 7526, 6751
		"192.168.0.0/16", Private, // RFC 1918
		"192.175.48.0/24", AS112, // RFC 7534
		"198.18.0.0/15", Benchmarking, // RFC 2544
		"198.51.100.0/24", Documentation, // RFC 5737
		"203.0.113.0/24", Documentation, // RFC 5737
		"224.0.0.0/4", Multicast, // RFC 5771
		"255.255.255.255/32", Broadcast, // RFC 919
		"240.0.0.0/4", Reserved, // RFC 1112
	)
	special6 = table(
		"::/128", Unspecified, // RFC 4291
		"::1/128", Loopback, // RFC 4291
		"::ffff:0:0/96", Mapped, // RFC 4291
		"::ffff:0:0:0/96", Translated, // RFC 2765
		"::/96", Compatible, // RFC 4291
		"64:ff9b::/96", NAT64, // RFC 6052
		"64:ff9b:1::/48", NAT64, // RFC 8215
		"100::/64", Discard, // RFC 6666
		"100:0:0:1::/64", Discard, // RFC 9780
		"2001::/32", Teredo, // RFC 4380
		"2001:2::/48", Benchmarking, // RFC 5180
		"2001:3::/32", Relay, // RFC 7450, AMT
		"2001:4:112::/48", AS112, // RFC 7535
		"2001:10::/28", ORCHID, // RFC 4843
		"2001:20::/28", ORCHID, // RFC 7343
		"2001:30::/28", ORCHID, // RFC 9374
		"2001::/23", ProtocolAssignment, // RFC 2928, 7723, 8155, 9665
		"2001:db8::/32", Documentation, // RFC 3849
		"2002::/16", SixToFour, // RFC 3056
		"2620:4f:8000::/48", AS112, // RFC 7534
		"3fff::/20", Documentation, // RFC 9637
		"5f00::/16", SegmentRouting, // RFC 9602
		"fd00:ec2::254/128", Metadata, // AWS
		"fd20:ce::254/128", Metadata, // Google Cloud
		"fc00::/7", UniqueLocal, // RFC 4193
		"fe80::a9fe:a9fe/128", Metadata, // OpenStack
		"fe80::/10", LinkLocal, // RFC 4291
		"fec0::/10", SiteLocal, // RFC 3879
		"ff00::/8", Multicast, // RFC 4291
	)
	global6 = netip.MustParsePrefix("2000::/3") // RFC 4291: all that was ever given out
)

// Classify says what kind of address a is. An IPv6 spelling of an IPv4 address
// is never public: whoever means the IPv4 address says so.
//
// promise: P01
func Classify(a netip.Addr) Class {
	switch {
	case !a.IsValid():
		return Invalid
	case a.Zone() != "":
		return Zoned
	}
	rows := special6
	if a.Is4() {
		rows = special4
	}
	for i := range rows {
		if rows[i].prefix.Contains(a) {
			return rows[i].class
		}
	}
	if a.Is4() {
		return Public
	}
	if !global6.Contains(a) {
		return Reserved
	}
	if b := a.As16(); b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe {
		return ISATAP // RFC 5214
	}
	return Public
}
