// SPDX-License-Identifier: Apache-2.0

package config

import "testing"

func mkfifo(t *testing.T, _ string) { t.Skip("no FIFO in the file system of Windows") }

func unreadable(t *testing.T, _ string) { t.Skip("modes do not protect files on Windows") }
