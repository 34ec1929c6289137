//go:build !race

package fanfare

const withRaceDetector = false
