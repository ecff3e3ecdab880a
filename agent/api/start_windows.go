// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
)

const noFollow = 0

// launch starts the agent detached and dials until it answers.
func launch(ctx context.Context, exe string, o ConnectOptions, log *os.File) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	if log == nil {
		log = null
	}
	p, err := os.StartProcess(exe, append([]string{exe}, AgentArgs[:2]...), &os.ProcAttr{
		Dir:   filepath.VolumeName(exe) + `\`,
		Env:   o.environ(processEnviron()),
		Files: []*os.File{null, log, log},
		Sys:   &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP | windows.DETACHED_PROCESS},
	})
	if err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() { // ends with the agent
		_, _ = p.Wait()
		close(exited)
	}()
	for {
		if c, err := Dial(ctx, o.Paths.MainSocket()); err == nil {
			return c.Close()
		}
		select {
		case <-exited:
			return errors.New("it ended at once")
		default:
		}
		if pause(ctx, 10*time.Millisecond) != nil {
			_ = p.Kill()
			return errStartSlow
		}
	}
}
