${templatefile("good.tpl", {})}
