// Package vault holds the seal keys as the landing side has them: from their
// arrival until what they are for is over, and not an instant longer. It says what
// became of each in signed receipts.
//
// Keys are in memory that the garbage collector never sees, that is locked against
// swapping as far as the process may, and that is left out of core files. A key
// ends by the clock of the machine's boot, which cannot be set, or by the wall
// clock, whichever says so first; one function decides it for every way in
// (life.go). What has ended does not open, whether it was wiped yet or not; it is
// wiped within a second.
//
//	key of                  ends with
//	a request               the response
//	a session               its end, the end of the process, idle time, longest session
//	a temporary value       its time to live (and the process, unless Config.Keep names a place for it)
//
// On disk, Config.Dir has who held what and what became of it: IDs, events and
// receipts, never a key (ledger.go). Config.Keep, which is best a file system in
// memory, has temporary keys and no others (shelf.go).
//
// Several landings may be a cluster (cluster.go): each holds the keys that came to it
// and answers for them, a PostgreSQL database has what is written down (postgres.go),
// and no key is in it but encrypted under keys that are in the members' memory.
//
// Promises kept here: P16, P18, P41.
package vault
