// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"time"

	"github.com/regmint/regmint/agent/api"
)

// recentTable lists the last answers, oldest first.
func recentTable(list []api.Recent, loc *time.Location) *table {
	t := &table{header: []string{"TIME", "CLIENT", "ASKED FOR", "ANSWER", "LIFE LEFT", "TOOK"}}
	for _, r := range list {
		client := dash(r.Client)
		if r.PID != 0 {
			client += fmt.Sprintf("(%d)", r.PID)
		}
		if r.Job != "" {
			client += " in job " + shortID(r.Job)
		}
		left := "-"
		if r.Life > 0 {
			left = span(r.Left)
		}
		t.add(text(r.Time.In(loc).Format("15:04:05")), text(client), text(r.Key), recentAnswer(r), text(left), text(took(r.Took)))
	}
	return t
}

func recentAnswer(r api.Recent) cell {
	switch r.Outcome {
	case api.OK:
		s := r.Account
		if r.As != "" {
			s += " as " + r.As
		}
		return cell{s, green}
	case api.NotFound:
		if r.Message != "" {
			return cell{"not found: " + r.Message, faint}
		}
		return cell{"not found", faint}
	}
	return cell{r.Message, red}
}

// took is a latency: "1.4 ms".
func took(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
