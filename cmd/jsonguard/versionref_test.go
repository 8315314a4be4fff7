package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// How people name a moment.
func TestParseMoment(t *testing.T) {
	now := time.Date(2026, 11, 25, 21, 30, 0, 0, time.Local)
	for text, want := range map[string]time.Time{
		"10m":                       now.Add(-10 * time.Minute),
		"-10m":                      now.Add(-10 * time.Minute),
		"10m ago":                   now.Add(-10 * time.Minute),
		"10 m ago":                  now.Add(-10 * time.Minute),
		"1h30m ago":                 now.Add(-90 * time.Minute),
		"7d":                        now.AddDate(0, 0, -7),
		"7d ago":                    now.AddDate(0, 0, -7),
		"2026-11-25":                time.Date(2026, 11, 25, 0, 0, 0, 0, time.Local),
		"2026-11-25 20:00":          time.Date(2026, 11, 25, 20, 0, 0, 0, time.Local),
		"2026-11-25T20:00":          time.Date(2026, 11, 25, 20, 0, 0, 0, time.Local),
		"2026-11-25 20:00:05":       time.Date(2026, 11, 25, 20, 0, 5, 0, time.Local),
		"20:15":                     time.Date(2026, 11, 25, 20, 15, 0, 0, time.Local),
		"2026-11-25T20:00:00Z":      time.Date(2026, 11, 25, 20, 0, 0, 0, time.UTC),
		"2026-11-25T20:00:00+02:00": time.Date(2026, 11, 25, 18, 0, 0, 0, time.UTC),
		"2026-11-25T20:00:00.5Z":    time.Date(2026, 11, 25, 20, 0, 0, 500_000_000, time.UTC),
	} {
		at, ok := parseMoment(text, now)
		require.True(t, ok, text)
		require.True(t, want.Equal(at), "%s: %v", text, at)
	}
	for _, text := range []string{"", "ago", "m", "yesterday", "10", "10x ago", "2026-13-01", "25:00", "--10m", "1e3"} {
		_, ok := parseMoment(text, now)
		require.False(t, ok, text)
	}
}
