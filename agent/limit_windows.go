// SPDX-License-Identifier: Apache-2.0

package agent

// maxConns: handles are bounded by memory alone.
func maxConns() int { return 0 }
