//go:build race

package fanfare

// withRaceDetector says that the tests run with -race.
const withRaceDetector = true
