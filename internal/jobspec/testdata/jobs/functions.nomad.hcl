job "functions" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      config {
        args = [
          upper("a"), base64encode("a"), md5("a"), sha256("b"), cidrsubnet("10.0.0.0/8", 8, 2), formatdate("YYYY", "2026-01-02T03:04:05Z"),
          timeadd("2026-01-02T03:04:05Z", "1h"), try(jsondecode("x"), "caught"), can(jsondecode("x")) ? "y" : "n", reverse("abc"),
          join(",", sort(["b", "a"])), replace("a.b", ".", "-"), format("%03d", 7), substr("abcdef", 1, 3), title("hello there"),
          basename("/a/b/c"), dirname("/a/b/c"), urlencode("a b&c"), indent(2, "a\nb"), coalesce(null, "z"), uuidv5("dns", "example.com"),
        ]
        yaml  = yamlencode({ a = [1, 2] })
        merge = merge({ a = 1 }, { b = 2 })
        zip   = zipmap(["a"], [1])
        keys  = keys({ b = 1, a = 2 })
        csv   = csvdecode("a,b\n1,2")
        max   = max(1, 5, 3)
      }
    }
  }
}
