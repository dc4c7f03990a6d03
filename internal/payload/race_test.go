//go:build race

package payload

// raceEnabled: the detector makes pools forget at random.
const raceEnabled = true
