//go:build !linux

package vault

const childHarden = "ISOGATE_TEST_VAULT_HARDEN"

func hardened() int { return 0 }
