// SPDX-License-Identifier: Apache-2.0

package github

// LogIn is Login with a clock of the test's.
var LogIn = logIn
