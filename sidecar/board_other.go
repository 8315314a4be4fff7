//go:build !linux

package sidecar

import "time"

func (b *board) wakeAll(int) {}

func (b *board) sleep(_ int, _ uint32, d time.Duration) { time.Sleep(min(d, boardlessNap)) }
