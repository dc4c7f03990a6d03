//go:build race

package obfuscate

// raceEnabled: the race detector makes sync.Pool drop things at random.
const raceEnabled = true
