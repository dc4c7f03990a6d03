package remote

import (
	"net/netip"
	"strings"
	"testing"
)

// ATTACK: an app names, or a DNS server answers with, an address inside the
// boundary or on the gateway's own machine, directly or wrapped in one of the
// ways in which IPv6 carries IPv4 (CVE-2024-24790 among others).
// THIS TEST VERIFIES that every block of the special-purpose registries is
// refused at its first and last address and that its neighbours are not, and
// which reason is told.
//
// promise: P01
func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		addr string
		want Class
	}{
		{"0.0.0.0", Unspecified}, {"0.0.0.1", ThisNetwork}, {"0.255.255.255", ThisNetwork}, {"1.0.0.0", Public},
		{"9.255.255.255", Public}, {"10.0.0.0", Private}, {"10.255.255.255", Private}, {"11.0.0.0", Public},
		{"100.63.255.255", Public}, {"100.64.0.0", SharedSpace}, {"100.100.100.200", Metadata}, {"100.127.255.255", SharedSpace}, {"100.128.0.0", Public},
		{"126.255.255.255", Public}, {"127.0.0.0", Loopback}, {"127.0.0.1", Loopback}, {"127.255.255.255", Loopback}, {"128.0.0.0", Public},
		{"168.63.129.15", Public}, {"168.63.129.16", Metadata},
		{"169.253.255.255", Public}, {"169.254.0.0", LinkLocal}, {"169.254.169.254", Metadata}, {"169.254.170.2", Metadata},
		{"169.254.170.23", Metadata}, {"169.254.255.255", LinkLocal}, {"169.255.0.0", Public},
		{"172.15.255.255", Public}, {"172.16.0.0", Private}, {"172.31.255.255", Private}, {"172.32.0.0", Public},
		{"191.255.255.255", Public}, {"192.0.0.0", ProtocolAssignment}, {"192.0.0.9", ProtocolAssignment}, {"192.0.0.192", Metadata},
		{"192.0.0.255", ProtocolAssignment}, {"192.0.1.0", Public}, {"192.0.2.0", Documentation}, {"192.0.2.255", Documentation}, {"192.0.3.0", Public},
		{"192.31.195.255", Public}, {"192.31.196.0", AS112}, {"192.31.196.255", AS112}, {"192.31.197.0", Public},
		{"192.52.193.0", Relay}, {"192.52.193.255", Relay}, {"192.52.194.0", Public},
		{"192.88.98.255", Public}, {"192.88.99.0", Relay}, {"192.88.99.255", Relay}, {"192.88.100.0", Public},
		{"192.167.255.255", Public}, {"192.168.0.0", Private}, {"192.168.255.255", Private}, {"192.169.0.0", Public},
		{"192.175.47.255", Public}, {"192.175.48.0", AS112}, {"192.175.48.255", AS112}, {"192.175.49.0", Public},
		{"198.17.255.255", Public}, {"198.18.0.0", Benchmarking}, {"198.19.255.255", Benchmarking}, {"198.20.0.0", Public},
		{"198.51.99.255", Public}, {"198.51.100.0", Documentation}, {"198.51.100.255", Documentation}, {"198.51.101.0", Public},
		{"203.0.112.255", Public}, {"203.0.113.0", Documentation}, {"203.0.113.255", Documentation}, {"203.0.114.0", Public},
		{"223.255.255.255", Public}, {"224.0.0.0", Multicast}, {"239.255.255.255", Multicast},
		{"240.0.0.0", Reserved}, {"255.255.255.254", Reserved}, {"255.255.255.255", Broadcast},
		{"8.8.8.8", Public}, {"1.1.1.1", Public},

		{"::", Unspecified}, {"::1", Loopback}, {"::2", Compatible}, {"::7f00:1", Compatible}, {"::10.0.0.1", Compatible},
		{"::8.8.8.8", Compatible}, {"::ffff:127.0.0.1", Mapped}, {"::ffff:7f00:1", Mapped}, {"::ffff:8.8.8.8", Mapped},
		{"::ffff:a9fe:a9fe", Mapped}, {"::ffff:0:127.0.0.1", Translated}, {"::1:0:0:1", Reserved},
		{"64:ff9b::7f00:1", NAT64}, {"64:ff9b::8.8.8.8", NAT64}, {"64:ff9b::1:0:0", Reserved}, {"64:ff9b:1::1", NAT64},
		{"64:ff9b:1:ffff:ffff:ffff:ffff:ffff", NAT64}, {"64:ff9b:2::", Reserved},
		{"100::", Discard}, {"100::ffff:ffff:ffff:ffff", Discard}, {"100:0:0:1::1", Discard}, {"100:0:0:2::", Reserved},
		{"1fff:ffff::", Reserved}, {"2000::", Public}, {"2001::", Teredo}, {"2001:0:ffff:ffff:ffff:ffff:ffff:ffff", Teredo},
		{"2001:1::1", ProtocolAssignment}, {"2001:1::3", ProtocolAssignment}, {"2001:2::1", Benchmarking}, {"2001:2:1::", ProtocolAssignment},
		{"2001:3::1", Relay}, {"2001:4:112::1", AS112}, {"2001:4:113::", ProtocolAssignment},
		{"2001:10::", ORCHID}, {"2001:1f:ffff::", ORCHID}, {"2001:20::", ORCHID}, {"2001:2f:ffff::", ORCHID}, {"2001:30::", ORCHID}, {"2001:3f::", ORCHID},
		{"2001:40::", ProtocolAssignment}, {"2001:1ff:ffff::", ProtocolAssignment}, {"2001:200::", Public},
		{"2001:db7:ffff::", Public}, {"2001:db8::", Documentation}, {"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Documentation}, {"2001:db9::", Public},
		{"2001:4860:4860::8888", Public}, {"2001:ffff::", Public},
		{"2002::", SixToFour}, {"2002:7f00:1::", SixToFour}, {"2002:ffff:ffff::", SixToFour}, {"2003::", Public},
		{"2620:4f:7fff::", Public}, {"2620:4f:8000::1", AS112}, {"2620:4f:8001::", Public},
		{"2a00::5efe:a00:1", ISATAP}, {"2a00::200:5efe:a00:1", ISATAP}, {"2a00::100:5efe:a00:1", Public},
		{"3ffe::", Public}, {"3fff::", Documentation}, {"3fff:fff:ffff::", Documentation}, {"3fff:1000::", Public}, {"3fff:ffff::", Public},
		{"4000::", Reserved}, {"5eff::", Reserved}, {"5f00::", SegmentRouting}, {"5f01::", Reserved},
		{"fbff::", Reserved}, {"fc00::", UniqueLocal}, {"fd00::1", UniqueLocal}, {"fd00:ec2::254", Metadata}, {"fd20:ce::254", Metadata},
		{"fdff:ffff::", UniqueLocal}, {"fe00::", Reserved}, {"fe80::", LinkLocal}, {"fe80::a9fe:a9fe", Metadata}, {"febf:ffff::", LinkLocal},
		{"fec0::", SiteLocal}, {"feff:ffff::", SiteLocal}, {"ff00::", Multicast}, {"ff02::1", Multicast}, {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Multicast},
		{"fe80::1%eth0", Zoned}, {"::1%lo", Zoned}, {"2606:4700::1%1", Zoned},
	} {
		if got := Classify(netip.MustParseAddr(tt.addr)); got != tt.want {
			t.Errorf("Classify(%s) = %v, want %v", tt.addr, got, tt.want)
		}
	}
	if got := Classify(netip.Addr{}); got != Invalid {
		t.Errorf("the zero address is %v", got)
	}
}

// The zero class, and every class but one, must refuse; a forgotten assignment
// must not let anything out.
func TestClassZeroRefuses(t *testing.T) {
	if Class(0) == Public {
		t.Fatal("the zero class lets out")
	}
	seen := map[string]bool{}
	for c := Invalid; c <= Public; c++ {
		if s := c.String(); s == "" || strings.HasPrefix(s, "invalid") || seen[s] {
			t.Errorf("class %d has the reason %q", c, s)
		} else {
			seen[s] = true
		}
	}
	if got := Class(200).String(); got != "invalid(200)" {
		t.Error(got)
	}
}
