// Package landing is for Go services that stand behind a landing of Isogate and
// open seals in their own code instead of leaving it to the landing's edge.
//
// A seal is text that begins with igs1. Its key is held by the landing alone, for
// as long as the handling of the value allows; the service stores the seal, and
// asks the landing when it needs the value. Every value that is opened is recorded
// by the landing and reported to the tenant whose value it is.
package landing
