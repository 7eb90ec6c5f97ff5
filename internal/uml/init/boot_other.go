//go:build !linux

package main

func boot() {}
