variable "job" {
  default = "job"
}
