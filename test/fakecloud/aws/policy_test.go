// SPDX-License-Identifier: Apache-2.0

package aws

import "testing"

func TestPoliciesDecide(t *testing.T) {
	const arn = "arn:aws:ecr:eu-west-1:111111111111:repository/"
	policy := func(statements string) string { return `{"Version":"2012-10-17","Statement":[` + statements + `]}` }
	for _, tc := range []struct {
		name, statements, action, resource string
		want                               bool
	}{
		{"the action", `{"Effect":"Allow","Action":"ecr:PutImage","Resource":"*"}`, "ecr:PutImage", arn + "a", true},
		{"in other letters", `{"Effect":"Allow","Action":"ECR:putimage","Resource":"*"}`, "ecr:PutImage", arn + "a", true},
		{"a pattern", `{"Effect":"Allow","Action":"ecr:Put*","Resource":"*"}`, "ecr:PutImage", arn + "a", true},
		{"another action", `{"Effect":"Allow","Action":["ecr:Get*","ecr:List*"],"Resource":"*"}`, "ecr:PutImage", arn + "a", false},
		{"every other action", `{"Effect":"Allow","NotAction":"ecr:Delete*","Resource":"*"}`, "ecr:PutImage", arn + "a", true},
		{"not that one", `{"Effect":"Allow","NotAction":"ecr:Put*","Resource":"*"}`, "ecr:PutImage", arn + "a", false},
		{"the repository", `{"Effect":"Allow","Action":"*","Resource":"` + arn + `acme/app"}`, "ecr:PutImage", arn + "acme/app", true},
		{"a longer name", `{"Effect":"Allow","Action":"*","Resource":"` + arn + `acme/app"}`, "ecr:PutImage", arn + "acme/app2", false},
		{"below a path", `{"Effect":"Allow","Action":"*","Resource":"` + arn + `acme/*"}`, "ecr:PutImage", arn + "acme/a/b", true},
		{"one letter", `{"Effect":"Allow","Action":"*","Resource":"` + arn + `a?p"}`, "ecr:PutImage", arn + "app", true},
		{"names have a case", `{"Effect":"Allow","Action":"*","Resource":"` + arn + `APP"}`, "ecr:PutImage", arn + "app", false},
		{"every other repository", `{"Effect":"Allow","Action":"*","NotResource":"` + arn + `secret/*"}`, "ecr:PutImage", arn + "secret/a", false},
		{"a deny wins", `{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"ecr:Put*","Resource":"*"}`, "ecr:PutImage", arn + "a", false},
		{"a condition that is met", `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringLike":{"A:Key":["x","v?l*"]}}}`, "ecr:PutImage", arn + "a", true},
		{"one that is not", `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"a:key":"other"}}}`, "ecr:PutImage", arn + "a", false},
		{"both must be", `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"a:key":"value"},"StringNotEquals":{"a:key":"value"}}}`, "ecr:PutImage", arn + "a", false},
		{"a key that is missing", `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"b:key":"value"}}}`, "ecr:PutImage", arn + "a", false},
		{"missing, if it exists", `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEqualsIfExists":{"b:key":"value"}}}`, "ecr:PutImage", arn + "a", true},
		{"any of many", `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ForAnyValue:StringEquals":{"a:many":"two"}}}`, "ecr:PutImage", arn + "a", true},
		{"all of many", `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ForAllValues:StringEquals":{"a:many":"two"}}}`, "ecr:PutImage", arn + "a", false},
	} {
		d, err := parseDocument(policy(tc.statements), kindIdentity)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		q := asked{tc.action, tc.resource, map[string][]string{"a:key": {"value"}, "a:many": {"one", "two"}}}
		if got, _ := verdict([]*document{d}, q); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
	for name, statements := range map[string]string{
		"an unknown condition": `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}`,
		"an unknown member":    `{"Effect":"Allow","Action":"*","Resource":"*","Actions":"*"}`,
		"nothing":              ``,
	} {
		if _, err := parseDocument(policy(statements), kindSession); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
