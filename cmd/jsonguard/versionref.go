package main

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"jsonguard/sidecar"
)

// versionHint is how a version is named.
const versionHint = `a generation (jsonguard history shows them), a time (2026-01-31T12:00:00Z, "2026-01-31 12:00", 2026-01-31), how long ago (10m, "2h ago", 7d), or now`

// findVersion reads how people name a version: its generation, the name of its file, or a time at which it was there.
func findVersion(verb, text string, versions []sidecar.Version, now time.Time) (sidecar.Version, error) {
	newest := versions[len(versions)-1]
	for _, v := range versions {
		if v.File != "" && text == v.File {
			return v, nil
		}
	}
	if generation, err := strconv.ParseUint(text, 10, 64); err == nil {
		v, err := sidecar.VersionOf(versions, generation)
		if err != nil {
			return v, usage("jsonguard history lists them", "%s: %v", verb, err)
		}
		return v, nil
	}
	if text == "now" {
		return newest, nil
	}
	at, ok := parseMoment(text, now)
	if !ok {
		return sidecar.Version{}, usage(versionHint, "%s: %q names no version", verb, text)
	}
	if at.After(now) {
		return sidecar.Version{}, usage("now is "+now.Local().Format(time.DateTime), "%s: %s is in the future", verb, text)
	}
	v, err := sidecar.VersionAt(versions, at)
	if err != nil {
		return v, usage("jsonguard history lists them", "%s: %s: %v", verb, text, err)
	}
	return v, nil
}

// parseMoment reads a time, or how long ago it was: 10m, -10m, 10m ago.
func parseMoment(text string, now time.Time) (time.Time, bool) {
	text = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "ago"))
	ago := strings.TrimPrefix(restoreNegative(text), "-")
	if at, ok := parseSince(strings.ReplaceAll(ago, " ", ""), now); ok && longAgo().MatchString(ago) {
		return at, true
	}
	for _, layout := range []string{"2006-01-02 15:04", "2006-01-02T15:04", "15:04:05", "15:04"} {
		at, err := time.ParseInLocation(layout, text, time.Local)
		if err != nil {
			continue
		}
		if at.Year() == 0 {
			y, m, d := now.Date()
			at = time.Date(y, m, d, at.Hour(), at.Minute(), at.Second(), 0, time.Local)
		}
		return at, true
	}
	return parseSince(text, now)
}

var longAgo = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9.]+ ?[a-zµ]+`) })
