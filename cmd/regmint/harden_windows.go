// SPDX-License-Identifier: Apache-2.0

package main

// harden has nothing to do: files below %LocalAppData% have the user's ACL.
func harden() error { return nil }
