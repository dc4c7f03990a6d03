// Package isogatetest is a whole system in one process: certificate authority,
// tenant, journal, gateway and a destination that keeps what it received. Tests
// use it, and the demonstration takes its certificates from it.
package isogatetest
