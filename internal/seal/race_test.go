//go:build race

package seal

// raceEnabled: the race detector keeps memory of its own, and makes sync.Pool drop things.
const raceEnabled = true
