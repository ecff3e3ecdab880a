// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"errors"
	"syscall"
)

func umask(int) int { return 0 }

func mkfifo(string) error { return errors.ErrUnsupported }

func asNobody() *syscall.SysProcAttr { return nil }
